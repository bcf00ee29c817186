package cmd

import (
	"os/signal"
	"syscall"

	caddycmd "github.com/caddyserver/caddy/v2/cmd"
	"github.com/spf13/cobra"

	"github.com/theworklabs/edge/internal/gate"
)

func gateCommand() caddycmd.Command {
	return caddycmd.Command{
		Name:  "gate",
		Usage: "[--listen <addresses>] [--socket <path>] [--health]",
		Short: "Keeps listening sockets open while the edge is replaced",
		Long:  gate.Help,
		CobraFunc: func(cmd *cobra.Command) {
			cmd.Flags().String("listen", gate.DefaultListen, "Where sockets listen")
			cmd.Flags().String("socket", gate.DefaultPath, "The unix socket where an edge asks")
			cmd.Flags().Bool("health", false, "Ask a running gate whether it works")
			cmd.RunE = runNoArgs(runGate)
		},
	}
}

func runGate(cmd *cobra.Command) error {
	flags := caddycmd.Flags{FlagSet: cmd.Flags()}
	ctx, stop := signal.NotifyContext(cmd.Context(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	if flags.Bool("health") {
		return gate.Health(ctx, flags.String("socket"))
	}
	return gate.Run(ctx, flags.String("socket"), flags.String("listen"), cmd.OutOrStdout())
}
