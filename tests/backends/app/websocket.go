package main

import (
	"context"
	"io"
	"net/http"

	"github.com/coder/websocket"
)

// websocket echoes every message until the client leaves; a polite stop closes it with 1001 (RFC 6455, section 7.4.1).
func (b *backend) websocket(w http.ResponseWriter, r *http.Request) {
	// The edge checks the origin: test clients may use any host.
	conn, err := websocket.Accept(w, r, &websocket.AcceptOptions{InsecureSkipVerify: true})
	if err != nil {
		return // Accept has answered
	}
	b.sockets.Add(1)
	defer b.sockets.Done()
	defer conn.CloseNow()
	conn.SetReadLimit(-1)

	stop := context.AfterFunc(b.stopping, func() {
		_ = conn.Close(websocket.StatusGoingAway, "server is stopping")
	})
	defer stop()
	for echoMessage(r.Context(), conn) == nil {
	}
}

func echoMessage(ctx context.Context, conn *websocket.Conn) error {
	kind, in, err := conn.Reader(ctx)
	if err != nil {
		return err
	}
	out, err := conn.Writer(ctx, kind)
	if err != nil {
		return err
	}
	if _, err := io.Copy(out, in); err != nil {
		return err
	}
	return out.Close()
}
