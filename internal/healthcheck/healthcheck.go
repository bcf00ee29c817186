// Package healthcheck asks a running edge whether it works. It does not import Caddy, because a program that does takes 0.15 s of a processor to start, which is too much for
// a health check each few seconds.
package healthcheck

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"os"
	"strings"
	"time"
)

// DefaultTimeout is how long the answer may take.
const DefaultTimeout = 3 * time.Second

// SocketPath returns the path of the socket for health checks: that of the variable EDGE_HEALTH, or the one in the image.
func SocketPath() string { return cmp.Or(os.Getenv("EDGE_HEALTH"), "/run/edge/health.sock") }

// Options say what to ask.
type Options struct {
	URL     string        // instead of the edge's
	Ready   bool          // ask whether all services are ready
	Timeout time.Duration // how long the answer may take
}

// Run asks the edge on its socket or, if there is none, on the port that HTTP_PORT names, 80 by default. It returns an error unless the answer is 200.
func Run(ctx context.Context, o Options) error {
	path := "/health"
	if o.Ready {
		path += "/ready"
	}
	client := http.DefaultClient
	switch info, err := os.Stat(SocketPath()); {
	case o.URL != "":
	case err == nil && info.Mode()&fs.ModeSocket != 0:
		o.URL = "http://edge" + path
		client = &http.Client{Transport: &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "unix", SocketPath())
		}}}
	default:
		o.URL = "http://" + net.JoinHostPort("127.0.0.1", cmp.Or(os.Getenv("HTTP_PORT"), "80")) + path
	}
	ctx, cancel := context.WithTimeout(ctx, o.Timeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, o.URL, nil)
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
	return fmt.Errorf("%s answered %s: %s", o.URL, resp.Status, strings.TrimSpace(string(body)))
}
