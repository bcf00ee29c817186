package cmd

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os/signal"
	"syscall"
	"time"

	"github.com/caddyserver/caddy/v2"
	caddycmd "github.com/caddyserver/caddy/v2/cmd"
	"github.com/spf13/cobra"

	"github.com/theworklabs/edge/internal/healthcheck"
	"github.com/theworklabs/edge/internal/socketproxy"
)

func guardCommand() caddycmd.Command {
	return caddycmd.Command{
		Name:  "guard",
		Usage: "[--listen <address>] [--socket <path>] [--swarm] [--restart-unhealthy] [--health]",
		Short: "Gives the edge access to the list of containers, and to nothing else of Docker",
		Long: `
Has access to the Docker socket, in a container of its own, and forwards GET /_ping,
/version, /events and /containers/json. It removes command lines, mounts and labels that
the edge does not need from the answers. Everything else gets 403.

Run it as uid 0 without capabilities, on a network that only the edge joins, as the
compose file does.

  --swarm  also forwards GET /tasks, /services and /nodes, for the edge's option swarm. The Docker
           Engine must be a manager. Environment variables, commands, mounts, secrets and
           configs are removed from the answers.
  --restart-unhealthy also forwards requests of the edge to restart a container, if it has the
           label edge.restart: unhealthy, and Docker's health check says that it is. Of one
           container, it forwards three in 30 minutes.
  --health asks a running guard and the Docker Engine behind it whether they work; exit
           status 1 if not.
`,
		CobraFunc: func(cmd *cobra.Command) {
			cmd.Flags().String("listen", ":2375", "Address to listen on")
			cmd.Flags().String("socket", "/var/run/docker.sock", "The Docker Engine's socket")
			cmd.Flags().Bool("swarm", false, "Forward the lists of a Swarm manager")
			cmd.Flags().String("restart-unhealthy", "false", "Restart unhealthy containers that are labelled for it when the edge asks")
			cmd.Flags().Lookup("restart-unhealthy").NoOptDefVal = "true"
			cmd.Flags().Bool("health", false, "Ask a running guard whether it works")
			cmd.RunE = runNoArgs(runGuard)
		},
	}
}

func runGuard(cmd *cobra.Command) error {
	flags := caddycmd.Flags{FlagSet: cmd.Flags()}
	listen := flags.String("listen")
	if flags.Bool("health") {
		return guardHealth(cmd.Context(), listen)
	}
	ctx, stop := signal.NotifyContext(cmd.Context(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	ln, err := new(net.ListenConfig).Listen(ctx, "tcp", listen)
	if err != nil {
		return withHint(err, "choose another address with --listen")
	}
	proxy := socketproxy.New(flags.String("socket"))
	if restarts, err := isRestartAllowed(flags.String("restart-unhealthy")); err != nil {
		return err
	} else if restarts {
		proxy.AllowRestarts(func(format string, args ...any) { fmt.Fprintf(cmd.OutOrStdout(), format, args...) })
	}
	if flags.Bool("swarm") {
		proxy.AllowSwarm()
	}
	server := &http.Server{
		Handler:           proxy,
		ReadHeaderTimeout: 5 * time.Second,
		IdleTimeout:       time.Minute,
		MaxHeaderBytes:    16 << 10,
		BaseContext:       func(net.Listener) context.Context { return ctx }, // event streams end with the guard
	}
	fmt.Fprintf(cmd.OutOrStdout(), "edge: guarding %s on %s\n", flags.String("socket"), ln.Addr())
	go func() {
		<-ctx.Done()
		grace, cancel := context.WithTimeout(context.WithoutCancel(ctx), 2*time.Second)
		defer cancel()
		_ = server.Shutdown(grace) // what has not ended by then is cut
	}()
	if err := server.Serve(ln); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}

// isRestartAllowed reads a value of the edge's option restart_unhealthy: compose.yaml gives both the same. When the edge asks is the edge's matter.
func isRestartAllowed(text string) (bool, error) {
	switch text {
	case "true":
		return true, nil
	case "false", "":
		return false, nil
	}
	if after, err := caddy.ParseDuration(text); err != nil || after <= 0 {
		return false, withHint(fmt.Errorf("--restart-unhealthy %q: want true, false, or the time after which the edge asks", text), "for example RESTART_UNHEALTHY=45s in .env")
	}
	return true, nil
}

func guardHealth(ctx context.Context, listen string) error {
	_, port, err := net.SplitHostPort(listen)
	if err != nil {
		return withHint(err, "--listen wants HOST:PORT or :PORT")
	}
	return healthcheck.Run(ctx, healthcheck.Options{URL: "http://" + net.JoinHostPort("127.0.0.1", port) + "/_ping", Timeout: healthcheck.DefaultTimeout})
}
