package socketio_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/coder/websocket"

	"github.com/theworklabs/edge/internal/demo/socketio"
)

// client implements the client side of the protocol by hand, so that the server is not tested against itself.
type client struct {
	t   *testing.T
	url string
	sid string
}

// startServer starts a server that sends hello to each socket and echoes, and stops with the test.
func startServer(t *testing.T, o socketio.Options) (*socketio.Server, *client) {
	t.Helper()
	if o.Connected == nil {
		o.Connected = func(socket *socketio.Socket) {
			if err := socket.Emit("hello", socket.Transport()); err != nil {
				t.Error(err)
			}
		}
	}
	if o.Received == nil {
		o.Received = echo
	}
	sockets := socketio.New(o)
	server := httptest.NewServer(sockets)
	t.Cleanup(server.Close)
	t.Cleanup(sockets.Close) // runs before server.Close, which waits for the handlers
	return sockets, &client{t: t, url: server.URL + "/socket.io/?EIO=4"}
}

func echo(_ *socketio.Socket, event string, arguments []json.RawMessage) []any {
	if event != "echo" {
		return nil
	}
	reply := make([]any, len(arguments))
	for i, argument := range arguments {
		reply[i] = argument
	}
	return reply
}

func (c *client) request(method, query, body string) (int, string) {
	c.t.Helper()
	status, text, err := c.tryRequest(method, query, body)
	if err != nil {
		c.t.Fatal(err)
	}
	return status, text
}

func (c *client) tryRequest(method, query, body string) (int, string, error) {
	r, err := http.NewRequestWithContext(c.t.Context(), method, c.url+query, strings.NewReader(body))
	if err != nil {
		return 0, "", err
	}
	response, err := http.DefaultClient.Do(r)
	if err != nil {
		return 0, "", err
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	return response.StatusCode, string(text), err
}

// openSession starts a session by polling and returns the content of its open packet.
func (c *client) openSession() map[string]any {
	c.t.Helper()
	status, body := c.request("GET", "&transport=polling", "")
	if status != http.StatusOK || !strings.HasPrefix(body, "0{") {
		c.t.Fatalf("handshake: %d %s", status, body)
	}
	var handshake map[string]any
	if err := json.Unmarshal([]byte(body[1:]), &handshake); err != nil {
		c.t.Fatal(err)
	}
	c.sid = fmt.Sprint(handshake["sid"])
	return handshake
}

func (c *client) poll() string {
	c.t.Helper()
	status, body := c.request("GET", c.query("polling"), "")
	if status != http.StatusOK {
		c.t.Fatalf("poll: %d %s", status, body)
	}
	return body
}

func (c *client) post(body string) {
	c.t.Helper()
	if status, answer := c.request("POST", c.query("polling"), body); status != http.StatusOK || answer != "ok" {
		c.t.Fatalf("post %q: %d %s", body, status, answer)
	}
}

func (c *client) query(transport string) string { return "&transport=" + transport + "&sid=" + c.sid }

// webSocketClient is the client side of a WebSocket.
type webSocketClient struct {
	t    *testing.T
	conn *websocket.Conn
}

// dial opens a WebSocket for the session, or starts a new session if there is none.
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

// waitClosed reads until the server closes the WebSocket, and returns the close code.
func (w *webSocketClient) waitClosed(ctx context.Context) websocket.StatusCode {
	for {
		if _, _, err := w.conn.Read(ctx); err != nil {
			return websocket.CloseStatus(err)
		}
	}
}
