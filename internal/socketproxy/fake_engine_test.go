package socketproxy_test

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/theworklabs/edge/internal/socketproxy"
)

// testTimeout limits each wait for something that must happen.
const testTimeout = 10 * time.Second

// fakeEngine is a fake Docker Engine on a unix socket, which records its requests.
type fakeEngine struct {
	socket string

	mu       sync.Mutex
	requests []*http.Request
}

// newFakeEngine starts a fake Docker Engine that answers with a handler.
func newFakeEngine(t testing.TB, handler http.HandlerFunc) *fakeEngine {
	t.Helper()
	e := &fakeEngine{socket: filepath.Join(t.TempDir(), "e.sock")}
	ln, err := net.Listen("unix", e.socket)
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		e.mu.Lock()
		e.requests = append(e.requests, r)
		e.mu.Unlock()
		handler(w, r)
	}))
	server.Listener.Close()
	server.Listener = ln
	server.Start()
	t.Cleanup(server.Close)
	return e
}

// takeRequests returns the requests since the last call, as "GET /path?query".
func (e *fakeEngine) takeRequests() []string {
	e.mu.Lock()
	defer e.mu.Unlock()
	var all []string
	for _, r := range e.requests {
		all = append(all, r.Method+" "+r.RequestURI)
	}
	e.requests = nil
	return all
}

// onlyRequest returns the only request since the last call of takeRequests.
func (e *fakeEngine) onlyRequest(t *testing.T) *http.Request {
	t.Helper()
	e.mu.Lock()
	defer e.mu.Unlock()
	if len(e.requests) != 1 {
		t.Fatalf("the Engine got %d requests, want one", len(e.requests))
	}
	return e.requests[0]
}

// serveRawBytes listens on a unix socket and answers each request with the same bytes, valid or not.
func serveRawBytes(t *testing.T, bytes string) (socket string) {
	t.Helper()
	socket = filepath.Join(t.TempDir(), "e.sock")
	ln, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	t.Cleanup(func() { ln.Close(); wg.Wait() })
	wg.Go(func() {
		for {
			conn, err := ln.Accept()
			if err != nil {
				return
			}
			wg.Go(func() {
				defer conn.Close()
				if _, err := http.ReadRequest(bufio.NewReader(conn)); err == nil {
					_, _ = io.WriteString(conn, bytes) // the proxy may close the connection before the end
				}
			})
		}
	})
	return socket
}

// proxyServer is a proxy that listens.
type proxyServer struct {
	t      *testing.T
	server *httptest.Server
}

func newProxyServer(t *testing.T, socket string, options ...func(*socketproxy.Proxy)) *proxyServer {
	t.Helper()
	proxy := socketproxy.New(socket)
	for _, apply := range options {
		apply(proxy)
	}
	s := &proxyServer{t, httptest.NewServer(proxy)}
	t.Cleanup(s.server.Close)
	return s
}

// response is a response of the proxy.
type response struct {
	status int
	header http.Header
	body   string
}

// get sends a GET request to the proxy.
func (s *proxyServer) get(path string) response { return s.do(http.MethodGet, path) }

// do sends a request line without the normalization of a client library.
func (s *proxyServer) do(method, target string) response {
	s.t.Helper()
	return s.sendRaw(method, fmt.Sprintf("%s %s HTTP/1.1\r\nHost: proxy\r\nConnection: close\r\n\r\n", method, target))
}

// sendRaw sends the bytes of a request with a method.
func (s *proxyServer) sendRaw(method, request string) response {
	s.t.Helper()
	conn, err := net.Dial("tcp", s.server.Listener.Addr().String())
	if err != nil {
		s.t.Fatal(err)
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(testTimeout)); err != nil {
		s.t.Fatal(err)
	}
	if _, err := io.WriteString(conn, request); err != nil {
		s.t.Fatal(err)
	}
	resp, err := http.ReadResponse(bufio.NewReader(conn), &http.Request{Method: method})
	if err != nil {
		s.t.Fatalf("%.60q: no response: %v", request, err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		s.t.Fatalf("%.60q: %v", request, err)
	}
	return response{resp.StatusCode, resp.Header, string(body)}
}

// waitForNoGoroutines waits until no goroutine runs code of the package.
func waitForNoGoroutines(t *testing.T) {
	t.Helper()
	var left []string
	for deadline := time.Now().Add(testTimeout); time.Now().Before(deadline); runtime.Gosched() {
		stacks := make([]byte, 1<<20)
		stacks = stacks[:runtime.Stack(stacks, true)]
		left = slices.DeleteFunc(strings.Split(string(stacks), "\n\n"), func(stack string) bool {
			return !strings.Contains(stack, "/internal/socketproxy.")
		})
		if len(left) == 0 {
			return
		}
	}
	t.Errorf("goroutines still run:\n%s", strings.Join(left, "\n\n"))
}
