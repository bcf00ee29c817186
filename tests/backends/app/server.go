package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"time"
)

// serve answers requests until the process ends. It returns an error if it cannot listen.
func (b *backend) serve(s site, term *termination) error {
	handler := b.withTestRoutes(s.handler(b))
	if s.boot != nil {
		handler = s.boot(handler)
	}
	behaviour, err := newBehaviour()
	if err != nil {
		return err
	}
	if handler, err = withArrivalLog(behaviour.wrap(handler)); err != nil {
		return err
	}
	handler = b.withBackendHeader(term.wrap(handler))
	if os.Getenv("LOG") == "1" {
		handler = withRequestLog(handler)
	}
	srv := &http.Server{Handler: handler}

	ln, err := net.Listen(s.network, ":"+s.port)
	if err != nil {
		return fmt.Errorf("listen on port %s: %w", s.port, err)
	}
	fmt.Printf("%s listening on port %s as %s (%s)\n", time.Now().UTC().Format(time.RFC3339Nano), s.port, b.name, b.role)

	term.onShutdown(func() {
		// There is no time limit: Docker kills a backend that takes too long.
		_ = srv.Shutdown(context.Background())
		b.sockets.Wait()
	})
	if err := srv.Serve(ln); !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("serve: %w", err)
	}
	select {} // the shutdown ends the process
}

// withBackendHeader adds the backend's name to every response.
func (b *backend) withBackendHeader(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("X-Test-Backend", b.name)
		next.ServeHTTP(w, r)
	})
}
