package socketio_test

import (
	"context"
	"testing"

	"github.com/coder/websocket"
)

// webSocketClient is a WebSocket.
type webSocketClient struct {
	t    *testing.T
	conn *websocket.Conn
}

// dial connects to the session, or without one begins its own.
func (c *client) dial() *webSocketClient {
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
	return &webSocketClient{c.t, conn}
}

func (w *webSocketClient) send(text string) {
	w.t.Helper()
	if err := w.conn.Write(w.t.Context(), websocket.MessageText, []byte(text)); err != nil {
		w.t.Fatal(err)
	}
}

func (w *webSocketClient) receive() string {
	w.t.Helper()
	_, text, err := w.conn.Read(w.t.Context())
	if err != nil {
		w.t.Fatal(err)
	}
	return string(text)
}

func (w *webSocketClient) expect(want string) {
	w.t.Helper()
	if got := w.receive(); got != want {
		w.t.Fatalf("got %q, want %q", got, want)
	}
}

// waitClosed returns the code with which the server closes, after whatever it still sends.
func (w *webSocketClient) waitClosed(ctx context.Context) websocket.StatusCode {
	for {
		if _, _, err := w.conn.Read(ctx); err != nil {
			return websocket.CloseStatus(err)
		}
	}
}
