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

// Where a container of the edge has its configuration: its own place, and that of the official image of Caddy, whose users may
// have put the edge in its place.
const (
	edgeCaddyfile     = "/etc/edge/Caddyfile"
	officialCaddyfile = "/etc/caddy/Caddyfile"
)

func serveCommand(shipped []byte) caddycmd.Command {
	return caddycmd.Command{
		Name:  "serve",
		Short: "Runs the edge with the configuration that its container has",
		Long: `
Does what "edge run --config /etc/edge/Caddyfile" does: it is what the image starts with.

If there is /etc/caddy/Caddyfile, where the official image of Caddy has its
configuration, and /etc/edge/Caddyfile is the one of the image, the former is used. If
both are yours, the edge does not start: remove one of them.
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

// chooseConfig returns the path of the configuration to run with: own, unless that is the shipped one, or is not there, and there is
// one at caddy.
func chooseConfig(own, caddy string, shipped []byte) (path string, err error) {
	info, err := os.Stat(caddy)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return own, nil
	case err != nil:
		return "", fmt.Errorf("look for a configuration: %w", err)
	case info.IsDir(): // which Docker makes of a file that is not there
		return "", withHint(fmt.Errorf("%s is a directory", caddy), "see that the file that is mounted there exists on the host")
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
		"mount one of them only, or say which: edge run --config %s", own)
}
