package proxy_test

import (
	"bufio"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/theworklabs/edge/internal/registry"
	"github.com/theworklabs/edge/tests/harness"
)

// closingBackend ends each connection at a random time after a response, about when the next request on it would arrive, while it reads.
type closingBackend struct {
	address     string
	end         func(*net.TCPConn)
	connections atomic.Int32

	mu   sync.Mutex
	done map[string]int // requests that it has carried out
}

func newClosingBackend(t *testing.T, end func(*net.TCPConn)) *closingBackend {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ln.Close() })
	b := &closingBackend{address: ln.Addr().String(), end: end, done: make(map[string]int)}
	go func() {
		for {
			conn, err := ln.Accept()
			if err != nil {
				return
			}
			b.connections.Add(1)
			go b.serve(conn.(*net.TCPConn))
		}
	}()
	return b
}

func (b *closingBackend) serve(conn *net.TCPConn) {
	defer conn.Close()
	reader := bufio.NewReader(conn)
	for left := 1 + rand.IntN(3); ; left-- {
		req, err := http.ReadRequest(reader)
		if err != nil {
			return
		}
		if _, err := io.Copy(io.Discard, req.Body); err != nil {
			return
		}
		b.mu.Lock()
		b.done[req.URL.RawQuery]++
		b.mu.Unlock()
		_, _ = io.WriteString(conn, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
		if left == 0 && b.end != nil {
			time.AfterFunc(rand.N(400*time.Microsecond), func() { b.end(conn) })
		}
	}
}

// ends are the ways in which backends end idle connections. The first one qualifies for `reuse all`.
var ends = []struct {
	name string
	end  func(*net.TCPConn)
}{
	{"close()", func(conn *net.TCPConn) { _ = conn.Close() }},
	{"shutdown(), and reading on", func(conn *net.TCPConn) { _ = conn.CloseWrite() }},
	{"a reset", func(conn *net.TCPConn) {
		_ = conn.SetLinger(0)
		_ = conn.Close()
	}},
}

// TestNoPOSTIsCarriedOutTwice sends POSTs around the time at which backends end their connections: EDGE_TEST_CLOSES for each kind of end, by
// default 400; 10,000 take a minute.
func TestNoPOSTIsCarriedOutTwice(t *testing.T) {
	for _, reuse := range []string{"repeatable", "all"} {
		for _, c := range ends {
			t.Run(reuse+"/"+c.name, func(t *testing.T) {
				b := newClosingBackend(t, c.end)
				s := serveReady(t, "edge_proxy api:80 {\n reuse "+reuse+"\n eject off\n retry_budget off\n}", b.address)
				sent := harness.Count(t, "EDGE_TEST_CLOSES", 400)
				unknown := b.sendPOSTs(t, s, sent)
				b.mu.Lock()
				defer b.mu.Unlock()
				for id, n := range b.done {
					if n > 1 {
						t.Errorf("%s was carried out %d times", id, n)
					}
				}
				t.Logf("%d POSTs on %d connections: %d unknown outcomes", sent, b.connections.Load(), unknown)
				// With all, a request may have arrived at the kernel, and not been read, when the backend closes the connection.
				if reuse == "repeatable" && unknown > 0 {
					t.Errorf("%d outcomes are unknown, want none", unknown)
				}
			})
		}
	}
}

// sendPOSTs sends POSTs, and returns how many have an unknown outcome. Those with a response have been carried out.
func (b *closingBackend) sendPOSTs(t *testing.T, s *site, n int) (unknown int64) {
	t.Helper()
	var next, lost atomic.Int64
	var clients sync.WaitGroup
	for range 8 {
		clients.Go(func() {
			client := &http.Client{Transport: &http.Transport{}, Timeout: 20 * time.Second}
			defer client.CloseIdleConnections()
			for i := next.Add(1); i <= int64(n); i = next.Add(1) {
				id := fmt.Sprintf("id=%d", i)
				resp, err := client.Post(s.url+"/?"+id, "text/plain", strings.NewReader(strings.Repeat("x", 60)))
				if err != nil {
					t.Error(err)
					continue
				}
				_, _ = io.Copy(io.Discard, resp.Body)
				resp.Body.Close()
				b.mu.Lock()
				isDone := b.done[id] > 0
				b.mu.Unlock()
				switch {
				case resp.StatusCode == http.StatusBadGateway:
					lost.Add(1)
				case resp.StatusCode != http.StatusOK || !isDone:
					t.Errorf("%s: status %d, carried out: %t", id, resp.StatusCode, isDone)
				}
				time.Sleep(rand.N(400 * time.Microsecond))
			}
		})
	}
	clients.Wait()
	return lost.Load()
}

func TestPOSTsReuseConnectionsIfTheyMay(t *testing.T) {
	for reuse, want := range map[string]func(int32) bool{
		"":                    func(n int32) bool { return n >= 20 },
		"reuse repeatable":    func(n int32) bool { return n >= 20 },
		"reuse all":           func(n int32) bool { return n <= 3 }, // and the probe's
		"reuse all\n hold 5s": func(n int32) bool { return n <= 3 },
	} {
		b := newClosingBackend(t, nil)
		ready := watchState(t, b.address, registry.Ready)
		s := serve(t, map[string][]string{"api:80": {b.address}}, "edge_proxy api:80 {\n "+reuse+"\n}")
		<-ready
		for range 20 {
			if status, text, _ := s.send(t, http.MethodPost, "/", []byte("x")); status != http.StatusOK {
				t.Fatalf("%d %s", status, text)
			}
		}
		if n := b.connections.Load(); !want(n) {
			t.Errorf("%q: 20 POSTs took %d connections", reuse, n)
		}
	}
}
