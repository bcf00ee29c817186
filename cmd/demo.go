package cmd

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/signal"
	"strconv"
	"sync"
	"syscall"
	"time"

	"github.com/caddyserver/caddy/v2"
	caddycmd "github.com/caddyserver/caddy/v2/cmd"
	"github.com/spf13/cobra"

	"github.com/theworklabs/edge/internal/demo"
	"github.com/theworklabs/edge/internal/registry"
	"github.com/theworklabs/edge/modules/edge"
)

func demoCommand(caddyfile []byte) caddycmd.Command {
	return caddycmd.Command{
		Name:  "demo",
		Usage: "[--http-port 8080] [--https-port 8443]",
		Short: "Serves the three sites with small backends of its own: no Docker, no configuration",
		Long: `
Starts small but real backends on loopback (two BigCapital servers with an API and an
Engine.IO endpoint, a web app, Corteza, docs) and serves the shipped Caddyfile,
unchanged, in front of them, for *.localhost names. Prints the URLs and what happens
to each service. Ctrl-C ends it; nothing is left behind.
`,
		CobraFunc: func(cmd *cobra.Command) {
			cmd.Flags().Int("http-port", 8080, "Port for HTTP")
			cmd.Flags().Int("https-port", 8443, "Port for HTTPS")
			cmd.RunE = runNoArgs(func(cmd *cobra.Command) error { return runDemo(cmd, caddyfile) })
		},
	}
}

func runDemo(cmd *cobra.Command, caddyfile []byte) (err error) {
	flags := caddycmd.Flags{FlagSet: cmd.Flags()}
	httpPort, httpsPort := flags.Int("http-port"), flags.Int("https-port")
	for flag, port := range map[string]int{"http-port": httpPort, "https-port": httpsPort} {
		if err := checkPort(cmd.Context(), flag, port); err != nil {
			return err
		}
	}
	ctx, stop := signal.NotifyContext(cmd.Context(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	dir, err := os.MkdirTemp("", "edge-demo-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()

	out := &eventPrinter{w: cmd.OutOrStdout()}
	backends, err := demo.Start(context.WithoutCancel(ctx), out.printEvent)
	if err != nil {
		return fmt.Errorf("start the demo's backends: %w", err)
	}
	defer func() { err = errors.Join(err, backends.Close()) }()
	config, err := demoConfig(caddyfile, dir, httpPort, httpsPort, backends.Endpoints())
	if err != nil {
		return err
	}
	unwatch := edge.WatchEndpoints(func(c registry.Change) {
		out.printEvent(c.Service, fmt.Sprintf("%s: %s (%s)", c.Address, c.To, c.Reason))
	})
	defer unwatch()
	if err := caddy.Load(config, true); err != nil {
		return withHint(fmt.Errorf("start the edge: %w", err), "if a port is taken, choose others with --http-port and --https-port")
	}
	if err := waitUntilReady(ctx, httpsPort); err != nil {
		return err
	}
	out.print(demoBanner(httpPort, httpsPort))
	<-ctx.Done()
	stop() // a second Ctrl-C ends it the hard way
	unwatch()
	out.print("\nending …\n")
	return caddy.Stop()
}

// checkPort sees that a port can be listened on, for a better error than the server would give.
func checkPort(ctx context.Context, flag string, port int) error {
	ln, err := new(net.ListenConfig).Listen(ctx, "tcp", ":"+strconv.Itoa(port))
	if err == nil {
		return ln.Close()
	}
	if errors.Is(err, syscall.EADDRINUSE) {
		err = fmt.Errorf("port %d is taken by another program", port)
	}
	return withHint(err, "choose another one: edge demo --%s %d", flag, port+1000)
}

func demoBanner(httpPort, httpsPort int) string {
	return fmt.Sprintf(`
The edge runs. Its certificates are its own, so that browsers ask once.

  https://accounting.localhost:%[2]d/            the accounting app, with its live socket
  https://accounting.localhost:%[2]d/api/accounts
  https://crm.localhost:%[2]d/                   Corteza
  https://docs.localhost:%[2]d/                  its documentation
  http://localhost:%[1]d/health                  the edge's own health
  http://localhost:%[1]d/health/ready            and that of all behind it

Try:
  curl -k https://accounting.localhost:%[2]d/api/accounts     again and again: two servers share the work
  curl -i http://accounting.localhost:%[1]d/                  goes to HTTPS
  curl -k https://accounting.localhost:%[2]d/api/queues       is blocked

Ctrl-C ends it. What happens:
`, httpPort, httpsPort)
}

// eventPrinter writes what happens, a line each, from many goroutines.
type eventPrinter struct {
	mu sync.Mutex
	w  io.Writer
}

func (l *eventPrinter) printEvent(service, event string) {
	l.print(fmt.Sprintf("%s  %-24s %s\n", time.Now().Format(time.TimeOnly), service, event))
}

func (l *eventPrinter) print(text string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	fmt.Fprint(l.w, text)
}
