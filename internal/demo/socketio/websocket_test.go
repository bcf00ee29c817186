package socketio_test

import (
	"context"
	"strings"
	"testing"

	"github.com/coder/websocket"

	"github.com/theworklabs/edge/internal/demo/socketio"
)

func TestWebSocketRoundTrip(t *testing.T) {
	sockets, c := startServer(t, socketio.Options{})
	w := c.dial()
	if got := w.receive(); !strings.HasPrefix(got, `0{"sid":"`) || !strings.Contains(got, `"upgrades":[]`) {
		t.Fatalf("handshake: %s", got)
	}
	w.send("40")
	if got := w.receive(); !strings.HasPrefix(got, `40{"sid":"`) {
		t.Fatalf("connect: %s", got)
	}
	w.expect(`42["hello","websocket"]`)
	w.send(`420["echo","ü"]`)
	w.expect(`430["ü"]`)
	if err := sockets.Broadcast("news", []int{1}); err != nil {
		t.Fatal(err)
	}
	w.expect(`42["news",[1]]`)
}

func TestLostWebSocketEndsItsSession(t *testing.T) {
	gone := make(chan struct{})
	sockets, c := startServer(t, socketio.Options{Disconnected: func(*socketio.Socket) { close(gone) }})
	w := c.dial()
	w.receive()
	w.send("40")
	w.receive()
	_ = w.conn.CloseNow()
	<-gone
	if n := sockets.Connected(); n != 0 {
		t.Errorf("%d sockets, want none", n)
	}
}

func TestInvalidMessageClosesTheWebSocket(t *testing.T) {
	for name, test := range map[string]struct {
		kind websocket.MessageType
		data string
	}{
		"binary":    {websocket.MessageBinary, "40"},
		"no packet": {websocket.MessageText, "x"},
		"not JSON":  {websocket.MessageText, "42["},
		"too large": {websocket.MessageText, "4" + strings.Repeat("x", 1000)},
	} {
		t.Run(name, func(t *testing.T) {
			_, c := startServer(t, socketio.Options{MaxPayload: 1000})
			w := c.dial()
			w.receive()
			if err := w.conn.Write(t.Context(), test.kind, []byte(test.data)); err != nil {
				t.Fatal(err)
			}
			if code := w.waitClosed(t.Context()); code == -1 {
				t.Error("closed without a close frame")
			}
		})
	}
}

func TestCloseEndsWebSocketsAndPolls(t *testing.T) {
	sockets, c := startServer(t, socketio.Options{})
	w := c.dial()
	w.receive()
	polling := &client{t: t, url: c.url}
	polling.openSession()
	body := make(chan string, 1)
	go func() {
		_, text, _ := polling.tryRequest("GET", polling.query("polling"), "")
		body <- text
	}()
	closed := make(chan struct{})
	go func() { sockets.Close(); close(closed) }()
	if code := w.waitClosed(context.Background()); code != websocket.StatusGoingAway {
		t.Errorf("closed with code %d, want 1001", code)
	}
	<-closed
	// The poll was waiting, or came after Close.
	if got := <-body; got != "1" && got != `{"code":1,"message":"Session ID unknown"}` {
		t.Errorf("poll: %q", got)
	}
	if status, _ := c.request("GET", "&transport=polling", ""); status != 503 {
		t.Errorf("handshake after Close: %d, want 503", status)
	}
}
