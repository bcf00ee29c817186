package upstreamconn_test

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/theworklabs/edge/internal/upstreamconn"
)

// recorder is an endpoint that keeps what it gets, and responds when a request is complete.
type recorder struct {
	net.Listener
	got chan []byte
}

func newRecorder(t *testing.T) *recorder {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ln.Close() })
	r := &recorder{ln, make(chan []byte, 10)}
	go func() {
		for {
			conn, err := ln.Accept()
			if err != nil {
				return
			}
			go r.serve(conn)
		}
	}()
	return r
}

func (r *recorder) serve(conn net.Conn) {
	defer conn.Close()
	var got bytes.Buffer
	in := bufio.NewReader(io.TeeReader(conn, &got))
	req, err := http.ReadRequest(in)
	if err == nil {
		_, err = io.Copy(io.Discard, req.Body)
	}
	if err != nil {
		got.WriteString("incomplete: " + err.Error())
	}
	r.got <- got.Bytes()
	_, _ = io.WriteString(conn, "HTTP/1.1 204 No Content\r\n\r\n")
}

// sent returns what the endpoint gets of an attempt: the lines of the head, sorted, and the rest.
func (r *recorder) sent(t *testing.T, a *upstreamconn.Attempt) (head []string, body string) {
	t.Helper()
	c := upstreamconn.Open(r.Addr().String()).(*upstreamconn.Conns)
	defer c.Abort()
	resp, err := c.Send(a)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	text, body, _ := strings.Cut(string(<-r.got), "\r\n\r\n")
	head = strings.Split(text, "\r\n")
	slices.Sort(head[1:])
	return head, body
}

func TestWhatTheEndpointGets(t *testing.T) {
	r := newRecorder(t)
	body := func(text string) io.ReadCloser { return io.NopCloser(strings.NewReader(text)) }
	for name, test := range map[string]struct {
		change func(a *upstreamconn.Attempt)
		want   []string
		body   string
	}{
		"no body": {func(*upstreamconn.Attempt) {}, []string{"GET /a%2Fb?c=d HTTP/1.1", "Host: crm.example"}, ""},
		"headers": {func(a *upstreamconn.Attempt) {
			a.Request.Header = http.Header{"X-Two": {"1", " 2\t"}, "User-Agent": {"curl"}, "X_underscore": {""}}
		}, []string{"GET /a%2Fb?c=d HTTP/1.1", "Host: crm.example", "User-Agent: curl", "X-Two: 1", "X-Two: 2", "X_underscore: "}, ""},
		"the attempt's own headers": {func(a *upstreamconn.Attempt) {
			a.Request.Header, a.Header = http.Header{"X-Old": {"1"}}, http.Header{"X-New": {"1"}}
		}, []string{"GET /a%2Fb?c=d HTTP/1.1", "Host: crm.example", "X-New: 1"}, ""},
		"no User-Agent": {func(a *upstreamconn.Attempt) {
			a.Request.Header = http.Header{"User-Agent": {""}}
		}, []string{"GET /a%2Fb?c=d HTTP/1.1", "Host: crm.example"}, ""},
		"headers about the framing": {func(a *upstreamconn.Attempt) {
			a.Request.Header = http.Header{"Content-Length": {"5"}, "Transfer-Encoding": {"chunked"}, "Host": {"other"}, "Trailer": {"X"}}
		}, []string{"GET /a%2Fb?c=d HTTP/1.1", "Host: crm.example"}, ""},
		"POST without a body": {func(a *upstreamconn.Attempt) {
			a.Request.Method = http.MethodPost
		}, []string{"POST /a%2Fb?c=d HTTP/1.1", "Content-Length: 0", "Host: crm.example"}, ""},
		"a body": {func(a *upstreamconn.Attempt) {
			a.Request.Method, a.Body, a.ContentLength = http.MethodPost, body("hello"), 5
		}, []string{"POST /a%2Fb?c=d HTTP/1.1", "Content-Length: 5", "Host: crm.example"}, "hello"},
		"a body that is longer than it says": {func(a *upstreamconn.Attempt) {
			a.Request.Method, a.Body, a.ContentLength = http.MethodPost, body("hello, world"), 5
		}, []string{"POST /a%2Fb?c=d HTTP/1.1", "Content-Length: 5", "Host: crm.example"}, "hello"},
		"a body of unknown length": {func(a *upstreamconn.Attempt) {
			a.Request.Method, a.Body, a.ContentLength = http.MethodPost, body("hello"), -1
		}, []string{"POST /a%2Fb?c=d HTTP/1.1", "Host: crm.example", "Transfer-Encoding: chunked"}, "5\r\nhello\r\n0\r\n\r\n"},
		"trailers": {func(a *upstreamconn.Attempt) {
			a.Request.Method, a.Body, a.ContentLength = http.MethodPost, body("hello"), 5
			a.Request.Trailer, a.Trailers = http.Header{"X-Sum": {"7"}}, []string{"X-Sum"}
		}, []string{"POST /a%2Fb?c=d HTTP/1.1", "Host: crm.example", "Trailer: X-Sum", "Transfer-Encoding: chunked"}, "5\r\nhello\r\n0\r\nX-Sum: 7\r\n\r\n"},
		"an IPv6 address with a zone": {func(a *upstreamconn.Attempt) {
			a.Request.Host = "[fe80::1%25eth0]:80"
		}, []string{"GET /a%2Fb?c=d HTTP/1.1", "Host: [fe80::1]:80"}, ""},
		"the host of the URL": {func(a *upstreamconn.Attempt) {
			a.Request.Host = ""
		}, []string{"GET /a%2Fb?c=d HTTP/1.1", "Host: bigcapital-server:3000"}, ""},
	} {
		a := newAttempt(t, http.MethodGet, "", false)
		a.Request.URL = &url.URL{Scheme: "http", Host: "bigcapital-server:3000", Path: "/a/b", RawPath: "/a%2Fb", RawQuery: "c=d"}
		a.Request.Host = "crm.example"
		test.change(a)
		head, got := r.sent(t, a)
		if !slices.Equal(head, test.want) || got != test.body {
			t.Errorf("%s: the endpoint got %q and %q, want %q and %q", name, head, got, test.want, test.body)
		}
	}
}

// TestRequestsThatWouldBeOthersAreNotSent: a line break in a header would be a header of its own, or a request.
func TestRequestsThatWouldBeOthersAreNotSent(t *testing.T) {
	r := newRecorder(t)
	c := upstreamconn.Open(r.Addr().String()).(*upstreamconn.Conns)
	defer c.Abort()
	for name, change := range map[string]func(a *upstreamconn.Attempt){
		"method":           func(a *upstreamconn.Attempt) { a.Request.Method = "GET /x HTTP/1.1\r\nX:" },
		"method, space":    func(a *upstreamconn.Attempt) { a.Request.Method = "GET " },
		"path":             func(a *upstreamconn.Attempt) { a.Request.URL.Opaque = "/x\r\n" },
		"path, space":      func(a *upstreamconn.Attempt) { a.Request.URL.Opaque = "/x HTTP/1.1" },
		"query":            func(a *upstreamconn.Attempt) { a.Request.URL.RawQuery = "a\nb" },
		"host":             func(a *upstreamconn.Attempt) { a.Request.Host = "a\r\nX: b" },
		"host, path":       func(a *upstreamconn.Attempt) { a.Request.Host = "a/b" },
		"header name":      func(a *upstreamconn.Attempt) { a.Request.Header = http.Header{"X: a\r\nY": {"b"}} },
		"header value":     func(a *upstreamconn.Attempt) { a.Request.Header = http.Header{"X": {"a\r\nY: b"}} },
		"bare line feed":   func(a *upstreamconn.Attempt) { a.Request.Header = http.Header{"X": {"a\nY: b"}} },
		"null":             func(a *upstreamconn.Attempt) { a.Request.Header = http.Header{"X": {"a\x00"}} },
		"empty name":       func(a *upstreamconn.Attempt) { a.Request.Header = http.Header{"": {"a"}} },
		"name of trailer":  func(a *upstreamconn.Attempt) { a.Trailers = []string{"A\r\nB"} },
		"framing, trailer": func(a *upstreamconn.Attempt) { a.Trailers = []string{"Content-Length"} },
	} {
		a := newAttempt(t, http.MethodPost, "body", false)
		change(a)
		resp, err := c.Send(a)
		if err == nil {
			resp.Body.Close()
		}
		if _, ok := errors.AsType[*upstreamconn.InvalidRequestError](err); !ok {
			t.Errorf("%s: got %v, want an InvalidRequestError", name, err)
		}
	}
	if n := len(r.got); n > 0 {
		t.Errorf("%d requests were sent, the first is %q", n, <-r.got)
	}
}

// TestATrailerThatCanNotBeSentEndsTheRequest: trailers are known when the body was sent.
func TestATrailerThatCanNotBeSentEndsTheRequest(t *testing.T) {
	r := newRecorder(t)
	c := upstreamconn.Open(r.Addr().String()).(*upstreamconn.Conns)
	defer c.Abort()
	a := newAttempt(t, http.MethodPost, "hello", false)
	a.Request.Trailer, a.Trailers = http.Header{"X-Sum": {"a\r\nGET / HTTP/1.1"}}, []string{"X-Sum"}
	if resp, err := c.Send(a); err == nil {
		resp.Body.Close()
		t.Error("the request was sent")
	}
	if got := string(<-r.got); !strings.Contains(got, "incomplete: ") {
		t.Errorf("the endpoint got %q", got)
	}
}
