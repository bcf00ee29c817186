package socketio_test

import (
	"context"
	"testing"

	"github.com/coder/websocket"
)

// wire is a WebSocket.
type wire struct {
	t    *testing.T
	conn *websocket.Conn
}

// dial connects to the session, or without one begins its own.
func (c *client) dial() *wire {
	c.t.Helper()
	query := "&transport=websocket"
	if c.sid != "" {
		query = c.query("websocket")
	}
	conn, _, err := websocket.Dial(c.t.Context(), c.url+query, nil)
	if err != nil {
		c.t.Fatal(err)
	}
	c.t.Cleanup(func() { _ = conn.CloseNow() })
	return &wire{c.t, conn}
}

func (w *wire) send(text string) {
	w.t.Helper()
	if err := w.conn.Write(w.t.Context(), websocket.MessageText, []byte(text)); err != nil {
		w.t.Fatal(err)
	}
}

func (w *wire) receive() string {
	w.t.Helper()
	_, text, err := w.conn.Read(w.t.Context())
	if err != nil {
		w.t.Fatal(err)
	}
	return string(text)
}

func (w *wire) expect(want string) {
	w.t.Helper()
	if got := w.receive(); got != want {
		w.t.Fatalf("got %q, want %q", got, want)
	}
}

// ended returns the code with which the server closes, after whatever it still sends.
func (w *wire) ended(ctx context.Context) websocket.StatusCode {
	for {
		if _, _, err := w.conn.Read(ctx); err != nil {
			return websocket.CloseStatus(err)
		}
	}
}
