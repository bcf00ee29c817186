//go:build nodemo

package cmd

import (
	"errors"

	caddycmd "github.com/caddyserver/caddy/v2/cmd"
	"github.com/spf13/cobra"
)

// demoCommand takes the place of the demo in builds with the tag nodemo, such as the image. It tells how to run the demo.
func demoCommand([]byte) caddycmd.Command {
	return caddycmd.Command{
		Name:  "demo",
		Short: "Tells how to run the demo, which this build does not contain",
		Long: `
This build contains neither the demo nor its backends. In a clone of the repository, run it with:

  go run ./cmd/edge demo
`,
		CobraFunc: func(cmd *cobra.Command) {
			cmd.FParseErrWhitelist.UnknownFlags = true // those of the demo
			cmd.RunE = runWithArgs(func(*cobra.Command, []string) error {
				return withHint(errors.New("this build does not contain the demo"), "in a clone of the repository, run: go run ./cmd/edge demo")
			})
		},
	}
}
