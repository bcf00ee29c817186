package main

import (
	"cmp"
	"context"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"os"
	"strings"
	"sync/atomic"
)

// corteza stands in for corteza-server after its boot. It answers LEAK on paths that the edge must block.
func corteza(b *backend) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch path := r.URL.Path; {
		case path == "/healthcheck":
			fmt.Fprintln(w, "PASS Primary store")
		case path == "/api/websocket":
			b.websocket(w, r)
		case isInternalPath(path):
			fmt.Fprintln(w, "LEAK")
		case strings.HasPrefix(path, "/api/"):
			http.NotFound(w, r)
		case r.Method == http.MethodHead:
			w.WriteHeader(http.StatusMethodNotAllowed)
		default:
			w.Header().Set("Cache-Control", "no-store")
			fmt.Fprintln(w, "<!doctype html><title>Corteza</title><h1>Corteza test server</h1>")
		}
	})
}

func isInternalPath(path string) bool {
	for _, prefix := range []string{"/metrics", "/console", "/debug", "/__"} {
		if strings.HasPrefix(path, prefix) {
			return true
		}
	}
	return false
}

// cortezaBooting answers in place of next until the database of DB_DSN has accepted a connection. As the real application does, it
// answers every request with 200, and /healthcheck with an empty body: only the body shows that it still boots.
func cortezaBooting(next http.Handler) http.Handler {
	var booted atomic.Bool
	go func() {
		if dsn := os.Getenv("DB_DSN"); dsn != "" {
			awaitTCP(context.Background(), storeAddress(dsn))
		}
		booted.Store(true)
	}()
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case booted.Load():
			next.ServeHTTP(w, r)
		case r.URL.Path == "/healthcheck":
			w.WriteHeader(http.StatusOK)
		default:
			w.Header().Set("Refresh", "15")
			fmt.Fprintln(w, "Corteza server initializing")
		}
	})
}

// storeAddress returns host:port of a postgres:// URL. For an invalid URL it returns "", to which no connection succeeds.
func storeAddress(dsn string) string {
	u, err := url.Parse(dsn)
	if err != nil {
		fmt.Fprintln(os.Stderr, "app: error: read DB_DSN:", err)
		return ""
	}
	return net.JoinHostPort(u.Hostname(), cmp.Or(u.Port(), "5432"))
}
