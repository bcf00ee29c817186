package demo_test

import (
	"strings"
	"testing"

	"github.com/coder/websocket"
)

// webSocketClient is the client side of a WebSocket.
type webSocketClient struct {
	t    *testing.T
	conn *websocket.Conn
}

func (s *runningDemo) dial(service string, n int, path string) *webSocketClient {
	s.t.Helper()
	conn, _, err := websocket.Dial(s.t.Context(), s.url(service, n, path), nil)
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { _ = conn.CloseNow() })
	return &webSocketClient{s.t, conn}
}

func (k *webSocketClient) send(text string) {
	k.t.Helper()
	if err := k.conn.Write(k.t.Context(), websocket.MessageText, []byte(text)); err != nil {
		k.t.Fatal(err)
	}
}

// readUntil reads messages until one has the prefix, and returns it.
func (k *webSocketClient) readUntil(prefix string) string {
	k.t.Helper()
	for {
		_, text, err := k.conn.Read(k.t.Context())
		if err != nil {
			k.t.Fatalf("wait for %s: %v", prefix, err)
		}
		if strings.HasPrefix(string(text), prefix) {
			return string(text)
		}
	}
}

func decodeSID(t *testing.T, result httpResult) string {
	t.Helper()
	_, rest, _ := strings.Cut(result.body, `"sid":"`)
	sid, _, found := strings.Cut(rest, `"`)
	if !found {
		t.Fatalf("handshake: %d %s", result.status, result.body)
	}
	return sid
}

func TestSocketGetsHelloTicksAndEchoes(t *testing.T) {
	s := startDemo(t)
	for _, path := range []string{"/socket/", "/socket.io/"} {
		k := s.dial("bigcapital-server:3000", 1, path+"?EIO=4&transport=websocket")
		k.send("40")
		k.readUntil(`42["hello",{"server":"bigcapital-server-2","transport":"websocket"}]`)
		s.waitForLog("bigcapital-server-2: socket connected over websocket")
		k.send(`420["echo",1,"two"]`)
		k.readUntil(`430[1,"two"]`)
		if tick := k.readUntil(`42["tick",{"server":"bigcapital-server-2","time":"`); !strings.HasSuffix(tick, `"visitors":1}]`) {
			t.Errorf("tick: %s", tick)
		}
		k.send("41")
		s.waitForLog("bigcapital-server-2: socket closed")
	}
}

func TestSessionIsUnknownToOtherServers(t *testing.T) {
	s := startDemo(t)
	const path = "/socket/?EIO=4&transport=polling"
	query := path + "&sid=" + decodeSID(t, s.get(s.url("bigcapital-server:3000", 0, path)))
	if got := s.do("POST", s.url("bigcapital-server:3000", 0, query), "40"); got.status != 200 {
		t.Errorf("the server of the session: %d %s", got.status, got.body)
	}
	got := s.do("POST", s.url("bigcapital-server:3000", 1, query), "40")
	if got.status != 400 || got.body != `{"code":1,"message":"Session ID unknown"}` {
		t.Errorf("the other server: %d %s", got.status, got.body)
	}
}

func TestUpgradeToWebSocketIsLogged(t *testing.T) {
	s := startDemo(t)
	const path = "/socket/?EIO=4&transport="
	sid := decodeSID(t, s.get(s.url("bigcapital-server:3000", 0, path+"polling")))
	k := s.dial("bigcapital-server:3000", 0, path+"websocket&sid="+sid)
	k.send("2probe")
	k.readUntil("3probe")
	k.send("5")
	s.waitForLog("bigcapital-server-1: socket moved to websocket")
}
