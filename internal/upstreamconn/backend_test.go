package upstreamconn_test

import (
	"context"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httptrace"
	"net/textproto"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/theworklabs/edge/internal/upstreamconn"
)

const (
	// waitTimeout is the longest wait for a state that must come.
	waitTimeout = 10 * time.Second
	// belowIdleTimeout is shorter than the time for which an idle connection is kept.
	belowIdleTimeout = 2 * time.Second
)

// backend is a container's server, which counts its connections.
type backend struct {
	*httptest.Server
	opened, closed atomic.Int32
	changed        chan struct{}

	mu       sync.Mutex
	accepted []net.Conn
}

func newBackend(t *testing.T, handler http.HandlerFunc) *backend {
	t.Helper()
	return newUnreadBackend(t, func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body) // net/http detects a disconnect only after it
		handler(w, r)
	})
}

// newUnreadBackend returns a backend whose handler gets the body.
func newUnreadBackend(t *testing.T, handler http.HandlerFunc) *backend {
	t.Helper()
	b := &backend{changed: make(chan struct{}, 1)}
	b.Server = httptest.NewUnstartedServer(handler)
	b.Config.ConnState = func(conn net.Conn, s http.ConnState) {
		switch s {
		case http.StateNew:
			b.mu.Lock()
			b.accepted = append(b.accepted, conn)
			b.mu.Unlock()
			b.opened.Add(1)
		case http.StateClosed, http.StateHijacked:
			b.closed.Add(1)
		}
		select {
		case b.changed <- struct{}{}:
		default:
		}
	}
	b.Start()
	t.Cleanup(b.Close)
	return b
}

// conns returns the connections that the backend has accepted.
func (b *backend) conns() []net.Conn {
	b.mu.Lock()
	defer b.mu.Unlock()
	return slices.Clone(b.accepted)
}

// eventuallyClosed waits until n of the backend's connections are closed. They must not stay until the idle timeout.
func (b *backend) eventuallyClosed(t *testing.T, n int32) {
	t.Helper()
	for deadline := time.After(belowIdleTimeout); b.closed.Load() < n; {
		select {
		case <-b.changed:
		case <-deadline:
			t.Fatalf("%d of %d connections were closed, want %d", b.closed.Load(), b.opened.Load(), n)
		}
	}
}

// open returns the connections to the backend.
func (b *backend) open(t *testing.T) *upstreamconn.Conns {
	t.Helper()
	c := upstreamconn.Open(b.Listener.Addr().String()).(*upstreamconn.Conns)
	t.Cleanup(func() { c.Close(); c.Abort() })
	return c
}

// newAttempt makes a request to a name that does not resolve. With isSingleUse, its body can't be read a second time.
func newAttempt(t *testing.T, method, body string, isSingleUse bool) *upstreamconn.Attempt {
	t.Helper()
	req, err := http.NewRequest(method, "http://bigcapital-server:3000/api", nil)
	if err != nil {
		t.Fatal(err)
	}
	a := &upstreamconn.Attempt{Request: req, Context: t.Context(), BodyIsReplayable: !isSingleUse}
	if body != "" {
		a.Body, a.ContentLength = io.NopCloser(strings.NewReader(body)), int64(len(body))
	}
	return a
}

// traced returns a context whose trace gets the interim responses.
func traced(ctx context.Context, got func(code int) error) context.Context {
	return httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{Got1xxResponse: func(code int, _ textproto.MIMEHeader) error { return got(code) }})
}

// exchange sends a request and reads the response to the end.
func exchange(t *testing.T, c *upstreamconn.Conns, a *upstreamconn.Attempt) string {
	t.Helper()
	resp, err := c.Send(a)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(body)
}

// pausingHandler sends the head and the first half of its response, and the rest after finish.
type pausingHandler struct {
	started, resume chan struct{}
	once            sync.Once
}

func newPausingHandler(t *testing.T) *pausingHandler {
	p := &pausingHandler{started: make(chan struct{}, 100), resume: make(chan struct{})}
	t.Cleanup(p.finish)
	return p
}

func (p *pausingHandler) finish() { p.once.Do(func() { close(p.resume) }) }

func (p *pausingHandler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	_, _ = io.WriteString(w, "first ")
	_ = http.NewResponseController(w).Flush()
	p.started <- struct{}{}
	select {
	case <-p.resume:
		_, _ = io.WriteString(w, "second")
	case <-r.Context().Done():
	}
}

// eventuallyNoGoroutines waits until no goroutine runs this package's code.
func eventuallyNoGoroutines(t *testing.T) {
	t.Helper()
	var left []string
	for deadline := time.Now().Add(waitTimeout); time.Now().Before(deadline); runtime.Gosched() {
		stacks := make([]byte, 1<<20)
		stacks = stacks[:runtime.Stack(stacks, true)]
		left = slices.DeleteFunc(strings.Split(string(stacks), "\n\n"), func(stack string) bool {
			return !strings.Contains(stack, "/internal/upstreamconn.")
		})
		if len(left) == 0 {
			return
		}
	}
	t.Errorf("goroutines are still running:\n%s", strings.Join(left, "\n\n"))
}
