package cmd

import (
	caddycmd "github.com/caddyserver/caddy/v2/cmd"
	"github.com/spf13/cobra"

	"github.com/theworklabs/edge/internal/healthcheck"
)

func healthCommand() caddycmd.Command {
	return caddycmd.Command{
		Name:  "health",
		Usage: "[--ready] [--url <url>] [--timeout <duration>]",
		Short: "Asks a running edge whether it works",
		Long: `
Asks the edge on this machine whether it works, on the socket /run/edge/health.sock, or on
the one that EDGE_HEALTH names. A container of the edge has this socket with any
configuration. Without the socket, the command sends GET /health over HTTP, to the port
that HTTP_PORT names (80 by default). The exit status is 0 if the answer is 200, else 1,
so that it is a health check for a container without a shell. The image has the same as
/usr/bin/edge-health, which starts faster.

  --ready asks whether every service that routes lead to is ready (/health/ready).
`,
		CobraFunc: func(cmd *cobra.Command) {
			cmd.Flags().Bool("ready", false, "Ask whether all services are ready")
			cmd.Flags().String("url", "", "The URL to ask instead")
			cmd.Flags().Duration("timeout", healthcheck.DefaultTimeout, "How long the answer may take")
			cmd.RunE = runNoArgs(runHealth)
		},
	}
}

func runHealth(cmd *cobra.Command) error {
	flags := caddycmd.Flags{FlagSet: cmd.Flags()}
	return healthcheck.Run(cmd.Context(), healthcheck.Options{URL: flags.String("url"), Ready: flags.Bool("ready"), Timeout: flags.Duration("timeout")})
}
