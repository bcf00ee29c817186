package cmd

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"time"

	caddycmd "github.com/caddyserver/caddy/v2/cmd"
	"github.com/spf13/cobra"
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
so that it is a health check for a container without a shell.

  --ready asks whether every service that routes lead to is ready (/health/ready).
`,
		CobraFunc: func(cmd *cobra.Command) {
			cmd.Flags().Bool("ready", false, "Ask whether all services are ready")
			cmd.Flags().String("url", "", "The URL to ask instead")
			cmd.Flags().Duration("timeout", 3*time.Second, "How long the answer may take")
			cmd.RunE = runNoArgs(runHealth)
		},
	}
}

func runHealth(cmd *cobra.Command) error {
	flags := caddycmd.Flags{FlagSet: cmd.Flags()}
	url := flags.String("url")
	path := "/health"
	if flags.Bool("ready") {
		path += "/ready"
	}
	if client := healthSocketClient(); url == "" && client != nil {
		return expectOK(cmd.Context(), client, "http://edge"+path, flags.Duration("timeout"))
	}
	if url == "" {
		port := os.Getenv("HTTP_PORT")
		if port == "" {
			port = "80"
		}
		url = "http://" + net.JoinHostPort("127.0.0.1", port) + path
	}
	return expectOK(cmd.Context(), http.DefaultClient, url, flags.Duration("timeout"))
}

// expectOK sends a GET request, and returns an error unless the answer is 200.
func expectOK(ctx context.Context, client *http.Client, url string, timeout time.Duration) error {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	resp, err := client.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode == http.StatusOK {
		return nil
	}
	body, err := io.ReadAll(io.LimitReader(resp.Body, 4<<10))
	if err != nil {
		return err
	}
	return fmt.Errorf("%s answered %s: %s", url, resp.Status, strings.TrimSpace(string(body)))
}
