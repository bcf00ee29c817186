package demo

import (
	"bufio"
	"context"
	"fmt"
	"net"
	"net/http"
	"time"
)

// hijackCloser sees to it that a connection which a handler takes over does not outlive its server by more than
// stopTimeout. The WebSocket library waits 5 s for a client's close frame, and nothing of its own cuts that short.
type hijackCloser struct {
	http.ResponseWriter
	ctx context.Context // of the request: it ends with the server's
}

// Unwrap is what http.ResponseController looks for.
func (h *hijackCloser) Unwrap() http.ResponseWriter { return h.ResponseWriter }

// Hijack implements http.Hijacker.
func (h *hijackCloser) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	conn, buffered, err := http.NewResponseController(h.ResponseWriter).Hijack()
	if err != nil {
		return nil, nil, fmt.Errorf("take over the connection: %w", err)
	}
	context.AfterFunc(h.ctx, func() {
		time.AfterFunc(stopTimeout, func() { _ = conn.Close() }) // it is closed already if the client was polite
	})
	return conn, buffered, nil
}
