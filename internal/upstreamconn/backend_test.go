package upstreamconn_test

import (
	"io"
	"net"
	"net/http"
	"net/http/httptest"
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
	// waitTimeout bounds every wait for something that must happen.
	waitTimeout = 10 * time.Second
	// belowIdleTimeout is less than a connection is kept for.
	belowIdleTimeout = 2 * time.Second
)

// backend is a container's server, which counts its connections.
type backend struct {
	*httptest.Server
	opened, closed atomic.Int32
	changed        chan struct{}
}

func newBackend(t *testing.T, answer http.HandlerFunc) *backend {
	t.Helper()
	b := &backend{changed: make(chan struct{}, 1)}
	b.Server = httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body) // before its end, net/http does not notice that a client leaves
		answer(w, r)
	}))
	b.Config.ConnState = func(_ net.Conn, s http.ConnState) {
		switch s {
		case http.StateNew:
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

// eventuallyClosed waits until the backend has seen n of its connections end, which must not take the time that idle ones have.
func (b *backend) eventuallyClosed(t *testing.T, n int32) {
	t.Helper()
	for deadline := time.After(belowIdleTimeout); b.closed.Load() < n; {
		select {
		case <-b.changed:
		case <-deadline:
			t.Fatalf("%d of %d connections ended, want %d", b.closed.Load(), b.opened.Load(), n)
		}
	}
}

// open returns a link to the backend.
func (b *backend) open(t *testing.T) *upstreamconn.Conns {
	t.Helper()
	l := upstreamconn.Open(b.Listener.Addr().String()).(*upstreamconn.Conns)
	t.Cleanup(func() { l.Close(); l.Abort() })
	return l
}

// newRequest makes a request to the service that no name server knows. With once its body can't be read a second time.
func newRequest(t *testing.T, method, body string, once bool) *http.Request {
	t.Helper()
	var reader io.Reader
	if body != "" {
		reader = strings.NewReader(body)
	}
	req, err := http.NewRequestWithContext(t.Context(), method, "http://bigcapital-server:3000/api", reader)
	if err != nil {
		t.Fatal(err)
	}
	if once {
		req.GetBody = nil
	}
	return req
}

// exchange sends a request and reads its answer to the end.
func exchange(t *testing.T, l *upstreamconn.Conns, req *http.Request) string {
	t.Helper()
	resp, err := l.Send(req)
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

// pausingHandler is a handler that sends the head and the first half of its answer, and the rest when it is told to.
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

// eventuallyNoGoroutines waits until no goroutine keeps a connection or runs the link's code.
func eventuallyNoGoroutines(t *testing.T) {
	t.Helper()
	var left []string
	for deadline := time.Now().Add(waitTimeout); time.Now().Before(deadline); runtime.Gosched() {
		stacks := make([]byte, 1<<20)
		stacks = stacks[:runtime.Stack(stacks, true)]
		left = slices.DeleteFunc(strings.Split(string(stacks), "\n\n"), func(stack string) bool {
			return !strings.Contains(stack, "/internal/upstreamconn.") && !strings.Contains(stack, "net/http.(*persistConn)")
		})
		if len(left) == 0 {
			return
		}
	}
	t.Errorf("goroutines were left behind:\n%s", strings.Join(left, "\n\n"))
}
