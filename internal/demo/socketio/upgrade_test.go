package socketio_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"

	"github.com/theworklabs/edge/internal/demo/socketio"
)

func TestUpgradeFromPollingToWebSocket(t *testing.T) {
	upgraded := make(chan struct{})
	_, c := startServer(t, socketio.Options{Upgraded: func() { close(upgraded) }})
	c.openSession()
	c.post("40")
	c.poll()
	waiting := make(chan string, 1)
	go func() {
		_, text, _ := c.tryRequest("GET", c.query("polling"), "")
		waiting <- text
	}()
	w := c.dial()
	w.send("2probe")
	w.expect("3probe")
	if got := <-waiting; got != "6" {
		t.Fatalf("the waiting poll got %q, want a noop", got)
	}
	// The server must keep what it sends between the last poll and the upgrade for the WebSocket.
	c.post(`421["echo","late"]`)
	w.send("5")
	w.expect(`431["late"]`)
	<-upgraded
	w.send(`422["echo","there"]`)
	w.expect(`432["there"]`)
	if status, body := c.request("GET", c.query("polling"), ""); status != 400 || !strings.Contains(body, `"code":3`) {
		t.Errorf("a poll after the upgrade: %d %s", status, body)
	}
}

func TestFailedUpgradeKeepsPolling(t *testing.T) {
	for name, probe := range map[string]func(*webSocketClient){
		"no probe":      func(w *webSocketClient) { w.send("40") },
		"closed":        func(w *webSocketClient) { _ = w.conn.CloseNow() },
		"only probe":    func(w *webSocketClient) { w.send("2probe"); w.expect("3probe"); _ = w.conn.CloseNow() },
		"never sends 5": func(w *webSocketClient) { w.send("2probe"); w.expect("3probe") },
	} {
		t.Run(name, func(t *testing.T) {
			_, c := startServer(t, socketio.Options{UpgradeTimeout: 50 * time.Millisecond})
			c.openSession()
			w := c.dial()
			probe(w)
			w.waitClosed(t.Context())
			c.post("40")
			for got := "6"; !strings.Contains(got, "hello"); got = c.poll() {
				if got != "6" && !strings.HasPrefix(got, "40") {
					t.Fatalf("poll: %q", got)
				}
			}
			c.upgrade()
		})
	}
}

// upgrade upgrades the session. It tries again until the server has noticed that the earlier attempt failed.
func (c *client) upgrade() {
	c.t.Helper()
	ctx, cancel := context.WithTimeout(c.t.Context(), 5*time.Second)
	defer cancel()
	for {
		conn, _, err := websocket.Dial(ctx, c.url+c.query("websocket"), nil)
		if ctx.Err() != nil {
			c.t.Fatal("the server accepts no further upgrade")
		}
		if err != nil {
			continue
		}
		w := &webSocketClient{c.t, conn}
		w.send("2probe")
		w.expect("3probe")
		w.send("5")
		w.send(`421["echo"]`)
		w.expect(`431[]`)
		_ = conn.CloseNow()
		return
	}
}

func TestOnlyOneUpgradeAtATime(t *testing.T) {
	_, c := startServer(t, socketio.Options{})
	c.openSession()
	first := c.dial()
	first.send("2probe")
	first.expect("3probe")
	_, response, err := websocket.Dial(t.Context(), c.url+c.query("websocket"), nil)
	if err == nil || response == nil || response.StatusCode != 400 {
		t.Errorf("a second upgrade: %v, %v, want status 400", response, err)
	}
	first.send("5")
	first.send("40")
	if got := first.receive(); !strings.HasPrefix(got, "40{") {
		t.Errorf("the first upgrade got %q", got)
	}
}
