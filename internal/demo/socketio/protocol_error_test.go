package socketio_test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/theworklabs/edge/internal/demo/socketio"
)

func TestProtocolErrors(t *testing.T) {
	_, c := startServer(t, socketio.Options{MaxPayload: 1000})
	for name, test := range map[string]struct {
		method, query, body string
		status              int
		want                string
	}{
		"unknown transport":         {"GET", "&transport=smoke", "", 400, `{"code":0,"message":"Transport unknown"}`},
		"no transport":              {"GET", "", "", 400, `{"code":0,"message":"Transport unknown"}`},
		"unknown session":           {"GET", "&transport=polling&sid=x", "", 400, `{"code":1,"message":"Session ID unknown"}`},
		"post to unknown session":   {"POST", "&transport=polling&sid=x", "40", 400, `{"code":1,"message":"Session ID unknown"}`},
		"handshake by POST":         {"POST", "&transport=polling", "", 400, `{"code":2,"message":"Bad handshake method"}`},
		"websocket without upgrade": {"GET", "&transport=websocket", "", 400, `{"code":3,"message":"Bad request"}`},
		"PUT to a session":          {"PUT", "&transport=polling&sid=SID", "", 400, `{"code":3,"message":"Bad request"}`},
		"empty payload":             {"POST", "&transport=polling&sid=SID", "", 400, `{"code":3,"message":"Bad request"}`},
		"unknown packet":            {"POST", "&transport=polling&sid=SID", "9", 400, `{"code":3,"message":"Bad request"}`},
		"ping from a client":        {"POST", "&transport=polling&sid=SID", "2", 400, `{"code":3,"message":"Bad request"}`},
		"binary":                    {"POST", "&transport=polling&sid=SID", "bAQID", 400, `{"code":3,"message":"Bad request"}`},
		"event before the connect":  {"POST", "&transport=polling&sid=SID", `42["echo"]`, 400, `{"code":3,"message":"Bad request"}`},
		"second connect":            {"POST", "&transport=polling&sid=SID", "40\x1e40", 400, `{"code":3,"message":"Bad request"}`},
		"event without a name":      {"POST", "&transport=polling&sid=SID", "40\x1e42[]", 400, `{"code":3,"message":"Bad request"}`},
		"too large":                 {"POST", "&transport=polling&sid=SID", "4" + strings.Repeat("x", 1000), 413, `{"code":3,"message":"Payload too large"}`},
	} {
		t.Run(name, func(t *testing.T) {
			c := &client{t: t, url: c.url}
			c.openSession()
			status, body := c.request(test.method, strings.ReplaceAll(test.query, "SID", c.sid), test.body)
			if status != test.status || body != test.want {
				t.Errorf("%d %s, want %d %s", status, body, test.status, test.want)
			}
		})
	}
}

func TestOlderProtocolsAreRejected(t *testing.T) {
	_, c := startServer(t, socketio.Options{})
	c.url = strings.Replace(c.url, "EIO=4", "EIO=3", 1)
	if status, body := c.request("GET", "&transport=polling", ""); status != 400 || body != `{"code":5,"message":"Unsupported protocol version"}` {
		t.Errorf("%d %s", status, body)
	}
}

func TestProtocolErrorEndsTheSession(t *testing.T) {
	_, c := startServer(t, socketio.Options{})
	c.openSession()
	c.request("POST", c.query("polling"), "9")
	if status, body := c.request("GET", c.query("polling"), ""); status != 400 || !strings.Contains(body, `"code":1`) {
		t.Errorf("%d %s", status, body)
	}
}

func TestSessionsAreLimited(t *testing.T) {
	_, c := startServer(t, socketio.Options{MaxSessions: 2})
	c.openSession()
	c.openSession()
	if status, _ := c.request("GET", "&transport=polling", ""); status != http.StatusServiceUnavailable {
		t.Errorf("third handshake: %d", status)
	}
}

// TestTwoPollsAtOnceEndTheSession accepts either poll as the one that is refused. The other returns because the session has
// ended.
func TestTwoPollsAtOnceEndTheSession(t *testing.T) {
	_, c := startServer(t, socketio.Options{})
	c.openSession()
	answers := make(chan int, 2)
	for range 2 {
		go func() {
			status, _, _ := c.tryRequest("GET", c.query("polling"), "")
			answers <- status
		}()
	}
	if a, b := <-answers, <-answers; a+b != http.StatusOK+http.StatusBadRequest {
		t.Errorf("statuses %d and %d, want 200 and 400", a, b)
	}
}
