package attacks

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/http2"

	"github.com/theworklabs/edge/tests/harness"
)

// TestNothingIsSmuggledThroughHTTP2 sends requests that HTTP/2 can carry, but that would mean something else if the edge wrote
// them unchanged to its backend, which speaks HTTP/1.1.
func TestNothingIsSmuggledThroughHTTP2(t *testing.T) {
	fields := func(method, scheme, authority, path string, more ...string) []string {
		return append([]string{":method", method, ":scheme", scheme, ":authority", authority, ":path", path}, more...)
	}
	plain := func(more ...string) []string {
		return fields("POST", "https", "accounting.localhost", "/api/outer", more...)
	}
	const host = "accounting.localhost"
	for _, c := range []struct {
		attack  string
		headers []string
		body    string
		trailer []string
		passes  bool // it may reach the backend, as one unambiguous request
	}{
		{attack: "CR LF in the path", headers: fields("GET", "https", host, "/api/x HTTP/1.1\r\nHost: evil\r\n\r\nGET /api/smuggled")},
		{attack: "a space in the path", headers: fields("GET", "https", host, "/api/x HTTP/1.1"), passes: true},
		{attack: "a path without a slash", headers: fields("GET", "https", host, "api/x")},
		{attack: "an empty path", headers: fields("GET", "https", host, "")},
		{attack: "an absolute path", headers: fields("GET", "https", host, "https://crm.localhost/metrics")},
		{attack: "two paths", headers: fields("GET", "https", host, "/api/x", ":path", "/api/queues")},
		{attack: "no path", headers: []string{":method", "GET", ":scheme", "https", ":authority", host}},
		{attack: "a request in the method", headers: fields("GET /api/smuggled HTTP/1.1\r\nX: y\r\n\r\nGET", "https", host, "/api/x")},
		{attack: "a space in the method", headers: fields("GET /api/smuggled", "https", host, "/api/x")},
		{attack: "no method", headers: []string{":scheme", "https", ":authority", host, ":path", "/api/x"}},
		{attack: "CR LF in the authority", headers: fields("GET", "https", host+"\r\nX: y", "/api/x")},
		{attack: "another site's authority", headers: fields("GET", "https", "crm.localhost", "/metrics")},
		{attack: "a user in the authority", headers: fields("GET", "https", "crm.localhost@"+host, "/api/x")},
		{attack: "Host beside the authority", headers: fields("GET", "https", host, "/api/x", "host", "crm.localhost"), passes: true},
		{attack: "two hosts", headers: []string{":method", "GET", ":scheme", "https", ":path", "/api/x", "host", host, "host", "crm.localhost"}},
		{attack: "an address as the scheme", headers: fields("GET", "https://crm.localhost/?", host, "/api/x"), passes: true},
		{attack: "an unknown pseudo-header", headers: plain(":x", "y")},
		{attack: "a pseudo-header after others", headers: append([]string{"x", "y"}, plain()...)},
		{attack: "a status", headers: plain(":status", "200")},
		{attack: "CR LF in a value", headers: plain("x", "y\r\nTransfer-Encoding: chunked")},
		{attack: "LF in a value", headers: plain("x", "y\nContent-Length: 0")},
		{attack: "NUL in a value", headers: plain("x", "y\x00z")},
		{attack: "CR LF in a name", headers: plain("x: y\r\nz", "y")},
		{attack: "a colon in a name", headers: plain("transfer-encoding: chunked", "y")},
		{attack: "a space in a name", headers: plain("content-length ", "0")},
		{attack: "capitals in a name", headers: plain("Transfer-Encoding", "chunked")},
		{attack: "Transfer-Encoding", headers: plain("transfer-encoding", "chunked"), body: "0\r\n\r\n" + smuggledRequest},
		{attack: "Connection", headers: plain("connection", "transfer-encoding")},
		{attack: "Keep-Alive", headers: plain("keep-alive", "1")},
		{attack: "Upgrade", headers: plain("upgrade", "h2c")},
		{attack: "TE other than trailers", headers: plain("te", "chunked")},
		{attack: "a length that is too short", headers: plain("content-length", "3"), body: "abc" + smuggledRequest},
		{attack: "a length that is too long", headers: plain("content-length", "1000"), body: "abc", passes: true},
		{attack: "two lengths", headers: plain("content-length", "3", "content-length", "5"), body: "abc", passes: true},
		{attack: "a length that is not a number", headers: plain("content-length", "3x"), body: "abc"},
		{attack: "pseudo-headers in the trailer", headers: plain("trailer", "x"), body: "abc", trailer: []string{":path", "/api/queues"}, passes: true},
		{attack: "a length in the trailer", headers: plain("trailer", "content-length"), body: "abc", trailer: []string{"content-length", "99"}, passes: true},
		{attack: "CONNECT", headers: []string{":method", "CONNECT", ":authority", "127.0.0.1:22"}},
		{attack: "CONNECT with a protocol", headers: fields("CONNECT", "https", host, "/api/x", ":protocol", "websocket", "origin", "https://evil.example")},
	} {
		t.Run(c.attack, func(t *testing.T) {
			backend.takeRecorded()
			p, err := (&attacker{target: edge.https}).dialHTTP2(newFloodTotals())
			if err != nil {
				t.Fatal(err)
			}
			defer p.conn.Close()
			last := c.body == "" && c.trailer == nil
			if err := p.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: p.headers(c.headers...), EndStream: last, EndHeaders: true}); err != nil {
				t.Fatal(err)
			}
			if c.body != "" {
				_ = p.WriteData(1, c.trailer == nil, []byte(c.body)) // the edge may have refused the stream already
			}
			if c.trailer != nil {
				_ = p.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: p.headers(c.trailer...), EndStream: true, EndHeaders: true})
			}
			answer := p.waitForAnswer()
			got := backend.takeRecorded()
			t.Logf("ATTACK h2: %-32s backend: %-40s client: %s", c.attack, describeRequests(got), answer)
			if !c.passes && len(got) > 0 {
				t.Errorf("the request reaches the backend:\n%s", got[0].head)
			}
			if len(got) > 1 {
				t.Errorf("the backend saw %d requests", len(got))
			}
			for _, e := range got {
				if problem := ambiguity(e.head); problem != "" {
					t.Errorf("the backend gets %s:\n%s", problem, e.head)
				}
				if host := e.hosts(); !slices.Equal(host, []string{"accounting.localhost"}) {
					t.Errorf("the backend gets the hosts %q", host)
				}
			}
			if answer == "nothing" {
				t.Error("the client gets neither an answer nor an error")
			}
			if strings.Contains(answer, "200") && !c.passes {
				t.Errorf("the client got %s", answer)
			}
		})
	}
}

// waitForAnswer waits until the edge has answered, reset the stream or closed the connection, and describes which it was.
func (p *http2Conn) waitForAnswer() (answer string) {
	err := harness.EventuallyContext(context.Background(), 3*time.Second, "the edge has answered", func() bool {
		p.totals.mu.Lock()
		answer = strings.Join(slices.Sorted(maps.Keys(p.totals.statuses)), ", ")
		p.totals.mu.Unlock()
		if answer == "" && p.totals.resets.Load() > 0 {
			answer = "the stream was reset"
		}
		select {
		case <-p.closed:
			answer = cmp.Or(answer, fmt.Sprintf("the connection was closed (%v)", p.goaway))
		default:
		}
		return answer != ""
	})
	if err != nil {
		return "nothing"
	}
	return answer
}
