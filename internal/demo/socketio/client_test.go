package socketio_test

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/theworklabs/edge/internal/demo/socketio"
)

// client is a test's end of the protocol, by hand, so that the server is not tested against itself.
type client struct {
	t   *testing.T
	url string
	sid string
}

// startServer runs a server that greets, echoes, and ends with the test.
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
	t.Cleanup(sockets.Close) // first, since the server waits for its handlers
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

// openSession begins a session by polling and returns its open packet.
func (c *client) openSession() map[string]any {
	c.t.Helper()
	status, body := c.request("GET", "&transport=polling", "")
	if status != http.StatusOK || !strings.HasPrefix(body, "0{") {
		c.t.Fatalf("handshake: %d %s", status, body)
	}
	var greeting map[string]any
	if err := json.Unmarshal([]byte(body[1:]), &greeting); err != nil {
		c.t.Fatal(err)
	}
	c.sid = fmt.Sprint(greeting["sid"])
	return greeting
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
