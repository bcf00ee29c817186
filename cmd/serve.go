package cmd

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"

	caddycmd "github.com/caddyserver/caddy/v2/cmd"
	"github.com/spf13/cobra"
)

// The paths of the configuration in a container of the edge: its own, and that of Caddy's official image, which users may have replaced
// with the image of the edge.
const (
	edgeCaddyfile     = "/etc/edge/Caddyfile"
	officialCaddyfile = "/etc/caddy/Caddyfile"
)

func serveCommand(shipped []byte) caddycmd.Command {
	return caddycmd.Command{
		Name:  "serve",
		Short: "Runs the edge with the configuration of its container",
		Long: `
Does the same as "edge run --config /etc/edge/Caddyfile". The image starts with it.

If /etc/caddy/Caddyfile exists, where the official image of Caddy has its configuration,
and /etc/edge/Caddyfile is the one of the image, the edge uses the former. If both are
yours, the edge does not start: remove one of them.
`,
		CobraFunc: func(cmd *cobra.Command) {
			cmd.RunE = runNoArgs(func(cmd *cobra.Command) error { return runServe(cmd, shipped) })
		},
	}
}

func runServe(cmd *cobra.Command, shipped []byte) error {
	config, err := chooseConfig(edgeCaddyfile, officialCaddyfile, shipped)
	if err != nil {
		return err
	}
	caddyRun, _, err := cmd.Root().Find([]string{"run"})
	if err != nil {
		return err
	}
	if err := caddyRun.Flags().Set("config", config); err != nil {
		return err
	}
	caddyRun.SetContext(cmd.Context())
	return caddyRun.RunE(caddyRun, nil)
}

// chooseConfig returns the path of the configuration to use. That is caddy if it exists, and own is the shipped configuration or does
// not exist; else it is own.
func chooseConfig(own, caddy string, shipped []byte) (path string, err error) {
	info, err := os.Stat(caddy)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return own, nil
	case err != nil:
		return "", fmt.Errorf("find the configuration: %w", err)
	case info.IsDir(): // Docker creates a directory if the file to mount does not exist
		return "", withHint(fmt.Errorf("%s is a directory", caddy), "make sure that the file to mount there exists on the host")
	}
	text, err := os.ReadFile(own)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return caddy, nil
	case err != nil:
		return "", fmt.Errorf("read the configuration: %w", err)
	case bytes.Equal(text, shipped):
		return caddy, nil
	}
	return "", withHint(fmt.Errorf("there are two configurations, %s and %s", own, caddy),
		"mount only one of them, or choose one: edge run --config %s", own)
}
