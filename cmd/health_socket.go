package cmd

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/caddyserver/caddy/v2"

	"github.com/theworklabs/edge/internal/healthcheck"
	"github.com/theworklabs/edge/modules/edge"
)

// ServeHealth serves the health socket until the process ends. It answers with any configuration, which may have no HTTP port, no admin API, and
// no site with the directive health. It replaces the socket of an earlier process. If the directory does not
// exist, which only the image has, ServeHealth does nothing.
func ServeHealth() error {
	path := healthcheck.SocketPath()
	if _, err := os.Stat(filepath.Dir(path)); errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return withHint(fmt.Errorf("remove the old health socket: %w", err), "let this user write to %s, or name another socket in EDGE_HEALTH", filepath.Dir(path))
	}
	ln, err := net.Listen("unix", path)
	if err != nil {
		return withHint(fmt.Errorf("listen for health checks: %w", err), "let this user write to %s, or name another socket in EDGE_HEALTH", filepath.Dir(path))
	}
	server := &http.Server{Handler: http.HandlerFunc(handleHealth), ReadHeaderTimeout: 5 * time.Second}
	go func() { _ = server.Serve(ln) }() // until the process ends
	return nil
}

// handleHealth answers /health with 200 if a configuration runs, and /health/ready with 200 if every service has a ready endpoint too.
func handleHealth(w http.ResponseWriter, r *http.Request) {
	if r.URL.Path != "/health" && r.URL.Path != "/health/ready" {
		http.NotFound(w, r)
		return
	}
	if caddy.ActiveContext().Context == nil {
		http.Error(w, "no configuration runs", http.StatusServiceUnavailable)
		return
	}
	if r.URL.Path == "/health/ready" {
		var down []string
		for _, s := range edge.Snapshot() {
			if s.Ready == 0 {
				down = append(down, s.Service)
			}
		}
		if len(down) > 0 {
			http.Error(w, "not ready: "+strings.Join(down, ", "), http.StatusServiceUnavailable)
			return
		}
	}
	w.WriteHeader(http.StatusOK)
}
