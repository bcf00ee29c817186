package demo

import (
	"bufio"
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

// app describes one server of an application.
type app struct {
	service     string // as a route names it: host:port
	name        string // of this server, among those of the service
	handler     http.Handler
	run         func(context.Context) // runs beside the handler until its context ends; may be nil
	idleTimeout time.Duration         // how long the server keeps an idle connection
}

// headerTimeout is how long a client has to send the header of a request, and so how long a connection without requests lasts.
const headerTimeout = 10 * time.Second

// stopTimeout is how long a stopping backend waits for its clients before it closes their connections.
const stopTimeout = time.Second

// backend is one HTTP server on a loopback port of its own.
type backend struct {
	app
	listener       net.Listener
	server         *http.Server
	acceptLoopDone chan struct{}  // closed when the accept loop has ended
	running        sync.WaitGroup // app.run, connections, and handlers
}

// startBackend listens and serves. The contexts of requests and of app.run end with ctx; stop ends the rest.
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
		ErrorLog:          log.New(io.Discard, "", 0), // the demo does not print errors of clients
	}
	go func() {
		defer close(b.acceptLoopDone)
		_ = b.server.Serve(listener) // always returns an error, here http.ErrServerClosed
	}()
	if a.run != nil {
		b.running.Go(func() { a.run(ctx) })
	}
	return b, nil
}

func (b *backend) address() string { return b.listener.Addr().String() }

// serve counts handlers, because a handler that has hijacked its connection is counted nowhere else. The connection still
// counts when serve starts, so the counter never rises from zero while stop waits.
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

// stop stops the server, whose context must have ended, and waits for its goroutines.
func (b *backend) stop() error {
	ctx, cancel := context.WithTimeout(context.Background(), stopTimeout)
	defer cancel()
	err := b.server.Shutdown(ctx)
	// Shutdown misses a connection that was accepted while the listener closed. Once the accept loop has ended, no more can
	// follow, so Close closes all of them.
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

// hijackCloser closes a hijacked connection at the latest stopTimeout after its server's context has ended. The WebSocket
// library waits 5 s for a client's close frame, and offers no way to shorten that.
type hijackCloser struct {
	http.ResponseWriter
	ctx context.Context // of the request; ends with the context of the server
}

// Unwrap returns the wrapped ResponseWriter, for [http.ResponseController].
func (h *hijackCloser) Unwrap() http.ResponseWriter { return h.ResponseWriter }

// Hijack implements [http.Hijacker].
func (h *hijackCloser) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	conn, buffered, err := http.NewResponseController(h.ResponseWriter).Hijack()
	if err != nil {
		return nil, nil, fmt.Errorf("hijack the connection: %w", err)
	}
	context.AfterFunc(h.ctx, func() {
		time.AfterFunc(stopTimeout, func() { _ = conn.Close() }) // an error if the handler has closed it already
	})
	return conn, buffered, nil
}

var _ http.Hijacker = (*hijackCloser)(nil)
