//go:build !nodemo

package cmd

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/signal"
	"slices"
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
		Short: "Serves the three sites with backends of its own, without Docker and configuration",
		Long: `
Starts small backends on loopback (two BigCapital servers with an API and an Engine.IO
endpoint, a web app, Corteza, docs), and in front of them an edge with the shipped
Caddyfile, unchanged, for *.localhost names, and the status page. Prints the URLs, and a
line for each change of an endpoint. Ctrl-C stops the demo, which leaves nothing behind.
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
		return withHint(fmt.Errorf("start the edge: %w", err), "if a port is in use, choose others with --http-port and --https-port")
	}
	if err := waitUntilReady(ctx, httpsPort); err != nil {
		return err
	}
	out.print(demoBanner(httpPort, httpsPort))
	<-ctx.Done()
	stop() // a second Ctrl-C kills the process
	unwatch()
	out.print("\nstopping …\n")
	return caddy.Stop()
}

// checkPort returns an error if the edge can't listen on a port. It has a hint, which the error of the server has not.
func checkPort(ctx context.Context, flag string, port int) error {
	ln, err := new(net.ListenConfig).Listen(ctx, "tcp", ":"+strconv.Itoa(port))
	if err == nil {
		return ln.Close()
	}
	if errors.Is(err, syscall.EADDRINUSE) {
		err = fmt.Errorf("port %d is in use by another program", port)
	}
	return withHint(err, "choose another one: edge demo --%s %d", flag, port+1000)
}

// waitUntilReady waits until each site has its certificate and each service has a ready endpoint, for 30 seconds at most.
func waitUntilReady(ctx context.Context, httpsPort int) error {
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	for _, site := range []string{"accounting", "crm", "docs", "status"} {
		dialer := tls.Dialer{Config: &tls.Config{ServerName: site + ".localhost", InsecureSkipVerify: true}} // the certificate only has to exist
		for {
			conn, err := dialer.DialContext(ctx, "tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(httpsPort)))
			if err == nil {
				_ = conn.Close()
				break
			}
			if ctx.Err() != nil {
				return fmt.Errorf("%s.localhost has no certificate: %w", site, err)
			}
			pause(ctx)
		}
	}
	for !allReady() {
		if ctx.Err() != nil {
			return errors.New("the demo's backends are not ready")
		}
		pause(ctx)
	}
	return nil
}

func allReady() bool {
	services := edge.Snapshot()
	return len(services) > 0 && !slices.ContainsFunc(services, func(s registry.ServiceStatus) bool { return s.Ready == 0 })
}

func pause(ctx context.Context) {
	select {
	case <-ctx.Done():
	case <-time.After(20 * time.Millisecond):
	}
}

func demoBanner(httpPort, httpsPort int) string {
	return fmt.Sprintf(`
The edge runs. It signs its certificates itself, so that browsers warn once.

  https://accounting.localhost:%[2]d/            the accounting app, with its live socket
  https://accounting.localhost:%[2]d/api/accounts
  https://crm.localhost:%[2]d/                   Corteza
  https://docs.localhost:%[2]d/                  its documentation
  https://status.localhost:%[2]d/                what happens, live
  http://localhost:%[1]d/health                  the edge's own health
  http://localhost:%[1]d/health/ready            and whether all services are ready

Try:
  curl -k https://accounting.localhost:%[2]d/api/accounts     several times: two servers share the requests
  curl -i http://accounting.localhost:%[1]d/                  is redirected to HTTPS
  curl -k https://accounting.localhost:%[2]d/api/queues       is blocked

Ctrl-C stops it. Changes of the endpoints:
`, httpPort, httpsPort)
}

// eventPrinter writes a line for each event. It is safe for concurrent use.
type eventPrinter struct {
	mu sync.Mutex
	w  io.Writer
}

func (p *eventPrinter) printEvent(service, event string) {
	p.print(fmt.Sprintf("%s  %-24s %s\n", time.Now().Format(time.TimeOnly), service, event))
}

func (p *eventPrinter) print(text string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	fmt.Fprint(p.w, text)
}
