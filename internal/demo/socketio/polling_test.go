package socketio_test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/theworklabs/edge/internal/demo/socketio"
)

func TestPollingHandshakeHasProtocolDefaults(t *testing.T) {
	_, c := startServer(t, socketio.Options{})
	handshake := c.openSession()
	for name, want := range map[string]any{"pingInterval": 25000.0, "pingTimeout": 20000.0, "maxPayload": 1e6} {
		if handshake[name] != want {
			t.Errorf("%s = %v, want %v", name, handshake[name], want)
		}
	}
	if upgrades, ok := handshake["upgrades"].([]any); !ok || len(upgrades) != 1 || upgrades[0] != "websocket" {
		t.Errorf("upgrades = %v", handshake["upgrades"])
	}
	if len(c.sid) < 20 {
		t.Errorf("the sid %q is too short to be secret", c.sid)
	}
}

func TestPollingRoundTrip(t *testing.T) {
	_, c := startServer(t, socketio.Options{})
	c.openSession()
	c.post("40")
	packets := strings.Split(c.poll(), "\x1e")
	if len(packets) != 2 || !strings.HasPrefix(packets[0], `40{"sid":"`) || packets[1] != `42["hello","polling"]` {
		t.Fatalf("after the connect: %q", packets)
	}
	c.post(`4217["echo",{"a":1},"b"]` + "\x1e" + `4218["unknown"]`)
	if got, want := c.poll(), `4317[{"a":1},"b"]`+"\x1e"+`4318[]`; got != want {
		t.Fatalf("acknowledgements: %q, want %q", got, want)
	}
}

func TestPollWaitsForABroadcast(t *testing.T) {
	sockets, c := startServer(t, socketio.Options{})
	c.openSession()
	c.post("40")
	c.poll()
	body := make(chan string, 1)
	go func() {
		_, text, _ := c.tryRequest("GET", c.query("polling"), "")
		body <- text
	}()
	if err := sockets.Broadcast("news", 1); err != nil {
		t.Fatal(err)
	}
	if got := <-body; got != `42["news",1]` {
		t.Fatalf("got %q", got)
	}
}

func TestBroadcastReachesOnlyConnectedSockets(t *testing.T) {
	sockets, c := startServer(t, socketio.Options{})
	c.openSession()
	if n := sockets.Connected(); n != 0 {
		t.Fatalf("%d sockets before the connect", n)
	}
	if err := sockets.Broadcast("news", 1); err != nil {
		t.Fatal(err)
	}
	c.post("40")
	if n := sockets.Connected(); n != 1 {
		t.Fatalf("%d sockets after the connect", n)
	}
	if got := c.poll(); strings.Contains(got, "news") {
		t.Fatalf("got %q", got)
	}
}

func TestClosePacketEndsTheSession(t *testing.T) {
	gone := make(chan struct{})
	_, c := startServer(t, socketio.Options{Disconnected: func(*socketio.Socket) { close(gone) }})
	c.openSession()
	c.post("40\x1e1")
	<-gone
	if status, body := c.request("GET", c.query("polling"), ""); status != http.StatusBadRequest || body != `{"code":1,"message":"Session ID unknown"}` {
		t.Fatalf("%d %s", status, body)
	}
}

func TestOtherNamespacesAreRejected(t *testing.T) {
	_, c := startServer(t, socketio.Options{})
	c.openSession()
	c.post("40/admin,")
	if got, want := c.poll(), `44/admin,{"message":"Invalid namespace"}`; got != want {
		t.Fatalf("got %q, want %q", got, want)
	}
}

func TestSocketMayDisconnectAndReconnect(t *testing.T) {
	sockets, c := startServer(t, socketio.Options{})
	c.openSession()
	c.post("40\x1e41")
	if n := sockets.Connected(); n != 0 {
		t.Fatalf("%d sockets after the disconnect", n)
	}
	c.post("40")
	if n := sockets.Connected(); n != 1 {
		t.Fatalf("%d sockets after the second connect", n)
	}
}
