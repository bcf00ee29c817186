package demo

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"sync"
	"time"
)

// app is what one server serves.
type app struct {
	service     string // as a route names it: host:port
	name        string // of this server, among those of the service
	handler     http.Handler
	run         func(context.Context) // if not nil, works beside the handler until its context ends
	idleTimeout time.Duration         // how long an idle connection is kept
}

// headerTimeout bounds how long a client may take to send a request's header, and with it how long a silent connection lasts.
const headerTimeout = 10 * time.Second

// stopTimeout bounds how long stop is polite.
const stopTimeout = time.Second

// backend is one HTTP server on a loopback port of its own.
type backend struct {
	app
	listener       net.Listener
	server         *http.Server
	acceptLoopDone chan struct{}  // closed when the accept loop has ended
	running        sync.WaitGroup // app.run, connections, and handlers
}

// startBackend listens and serves. Requests' contexts, and app.run, end with ctx; the rest ends with stop.
func startBackend(ctx context.Context, a app) (*backend, error) {
	var config net.ListenConfig
	listener, err := config.Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("listen for %s: %w", a.name, err)
	}
	b := &backend{app: a, listener: listener, acceptLoopDone: make(chan struct{})}
	b.server = &http.Server{
		Handler:           http.HandlerFunc(b.serve),
		ConnState:         b.trackConn,
		BaseContext:       func(net.Listener) context.Context { return ctx },
		ReadHeaderTimeout: headerTimeout,
		IdleTimeout:       a.idleTimeout,
		ErrorLog:          log.New(io.Discard, "", 0), // broken clients are none of the demo's news
	}
	go func() {
		defer close(b.acceptLoopDone)
		_ = b.server.Serve(listener) // always fails, with ErrServerClosed
	}()
	if a.run != nil {
		b.running.Go(func() { a.run(ctx) })
	}
	return b, nil
}

func (b *backend) address() string { return b.listener.Addr().String() }

// serve counts the handler, because a handler that has taken over its connection is counted nowhere else.
// Its connection is still counted here, so the count is never raised from zero while stop waits.
func (b *backend) serve(w http.ResponseWriter, r *http.Request) {
	b.running.Add(1)
	defer b.running.Done()
	b.handler.ServeHTTP(&hijackCloser{w, r.Context()}, r)
}

// trackConn counts connections: each is new once, and closed or hijacked once.
func (b *backend) trackConn(_ net.Conn, state http.ConnState) {
	switch state {
	case http.StateNew:
		b.running.Add(1)
	case http.StateClosed, http.StateHijacked:
		b.running.Done()
	}
}

// stop ends the server whose context has ended, and waits for its goroutines.
func (b *backend) stop() error {
	ctx, cancel := context.WithTimeout(context.Background(), stopTimeout)
	defer cancel()
	err := b.server.Shutdown(ctx)
	// A connection accepted as the listener closed may have been missed above. No more can follow
	// once the accept loop has ended, so what is closed then is all there is.
	<-b.acceptLoopDone
	if errors.Is(err, context.DeadlineExceeded) {
		err = nil
	}
	err = errors.Join(err, b.server.Close())
	b.running.Wait()
	if err != nil {
		return fmt.Errorf("stop %s: %w", b.name, err)
	}
	return nil
}
