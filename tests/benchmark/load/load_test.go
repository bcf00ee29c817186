package load

import (
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	ws "github.com/coder/websocket"
)

// newServer returns the address of a server that has responses of 1,000 bytes.
func newServer(t *testing.T, isSecure bool, handler http.HandlerFunc) string {
	t.Helper()
	s := httptest.NewUnstartedServer(handler)
	if s.EnableHTTP2 = true; isSecure {
		s.StartTLS()
	} else {
		s.Start()
	}
	t.Cleanup(s.Close)
	return s.Listener.Addr().String()
}

func respond(w http.ResponseWriter, r *http.Request) {
	n, _ := io.Copy(io.Discard, r.Body)
	if r.Method == http.MethodPost && n == 0 {
		w.WriteHeader(http.StatusBadRequest)
	}
	_, _ = io.WriteString(w, strings.Repeat("x", 1000))
}

func TestClientsSendRequests(t *testing.T) {
	for _, version := range []string{HTTP1, HTTP1TLS, HTTP2} {
		for _, body := range []int{0, 10, 100_000} {
			r := Request{Version: version, Address: newServer(t, version != HTTP1, respond), Method: http.MethodGet, Path: "/", Body: body}
			if body > 0 {
				r.Method = http.MethodPost
			}
			c, err := Open(t.Context(), r, 3)
			if err != nil {
				t.Fatalf("%s: %v", version, err)
			}
			if n, err := c.Saturate(50 * time.Millisecond); n == 0 || err != nil {
				t.Errorf("%s, %d bytes: %d requests, %v", version, body, n, err)
			}
			c.Close()
		}
	}
}

func TestErrorsEndTheLoad(t *testing.T) {
	var count atomic.Int64
	for name, respond := range map[string]http.HandlerFunc{
		"500": func(w http.ResponseWriter, _ *http.Request) {
			if count.Add(1) > 1 {
				w.WriteHeader(http.StatusInternalServerError)
			}
		},
		"no Content-Length": func(w http.ResponseWriter, _ *http.Request) {
			if count.Add(1) > 1 {
				w.(http.Flusher).Flush()
			}
		},
		"the end of the connection": func(http.ResponseWriter, *http.Request) {
			if count.Add(1) > 1 {
				panic(http.ErrAbortHandler)
			}
		},
	} {
		count.Store(0)
		c, err := Open(t.Context(), Request{Version: HTTP1, Address: newServer(t, false, respond), Method: http.MethodGet, Path: "/"}, 1)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if _, err := c.Saturate(5 * time.Second); err == nil {
			t.Errorf("%s: no error", name)
		}
		c.Close()
	}
	if _, err := Open(t.Context(), Request{Version: "HTTP/9"}, 1); err == nil {
		t.Error("an unknown version: no error")
	}
}

// TestAnOpenLoopCountsWhatWaits: the server takes 50 ms for each request, on one connection, and 100 a second are due.
func TestAnOpenLoopCountsWhatWaits(t *testing.T) {
	address := newServer(t, false, func(w http.ResponseWriter, r *http.Request) {
		time.Sleep(50 * time.Millisecond)
		respond(w, r)
	})
	c, err := Open(t.Context(), Request{Version: HTTP1, Address: address, Method: http.MethodGet, Path: "/"}, 1)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	latencies, err := c.Pace(100, 200*time.Millisecond)
	if err != nil || len(latencies) != 20 {
		t.Fatalf("%v, %v", latencies, err)
	}
	// The last one is due after 190 ms, and its response comes after 20 × 50 ms.
	if last := latencies.Percentile(100); last < 750*time.Millisecond || latencies.Percentile(0) > last/2 {
		t.Errorf("the latencies are %v", latencies)
	}
	if Latencies(nil).Percentile(50) != 0 {
		t.Error("a percentile of nothing")
	}
}

func TestMessagesAreEchoed(t *testing.T) {
	address := newServer(t, false, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/echo" {
			return
		}
		conn, err := ws.Accept(w, r, nil)
		if err != nil {
			return
		}
		for err == nil {
			var kind ws.MessageType
			var message []byte
			if kind, message, err = conn.Read(r.Context()); err == nil {
				err = conn.Write(r.Context(), kind, message)
			}
		}
	})
	c, err := Open(t.Context(), Request{Version: WebSocket, Address: address, Path: "/echo", Body: 100}, 2)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if n, err := c.Saturate(50 * time.Millisecond); n == 0 || err != nil {
		t.Errorf("%d messages, %v", n, err)
	}
	for _, r := range []Request{{Path: "/", Body: 100}, {Path: "/echo", Body: 126}} {
		r.Version, r.Address = WebSocket, address
		if _, err := Open(t.Context(), r, 1); err == nil {
			t.Errorf("%+v: no error", r)
		}
	}
}
