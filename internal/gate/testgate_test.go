//go:build linux

package gate

import (
	"context"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/theworklabs/edge/internal/testport"
)

// testGate is a gate with a TCP and a UDP socket.
type testGate struct {
	*Server
	path     string
	tcp, udp string // where they listen
	stop     func() // ends it, and waits
	user     int    // the user that it serves
}

// startGate starts a gate whose sockets have free ports of a host.
func startGate(t *testing.T, host string) *testGate {
	t.Helper()
	g := &testGate{path: filepath.Join(privateDir(t), "gate.sock"), user: os.Geteuid()}
	g.tcp, g.udp = net.JoinHostPort(host, testport.Port(t)), net.JoinHostPort(host, testport.Port(t))
	g.start(t)
	return g
}

func (g *testGate) start(t *testing.T) {
	t.Helper()
	s, err := Open(t.Context(), g.path, []Address{{"tcp", g.tcp}, {"udp", g.udp}}, slog.New(slog.NewTextHandler(io.Discard, nil)))
	if err != nil {
		t.Fatal(err)
	}
	g.Server, s.user = s, g.user
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error)
	go func() { done <- s.Serve(ctx) }()
	g.stop = sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(func() { g.stop() })
}

func privateDir(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	if err := os.Chmod(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	return dir
}

func (g *testGate) ask(t *testing.T) *Lease {
	t.Helper()
	l, err := Ask(t.Context(), g.path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	return l
}

// within fails the test unless the condition becomes true.
func within(t *testing.T, what string, isTrue func() bool) {
	t.Helper()
	for end := time.Now().Add(10 * time.Second); !isTrue(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("not within 10 s: %s", what)
		}
	}
}

// answer accepts one connection, and writes a name to it.
func answer(t *testing.T, ln net.Listener, name string) {
	t.Helper()
	conn, err := ln.Accept()
	if err != nil {
		t.Error(err)
		return
	}
	_, _ = io.WriteString(conn, name)
	_ = conn.Close()
}

func listener(t *testing.T, l *Lease, address string) net.Listener {
	t.Helper()
	ln, err := l.Listener(address)
	if err != nil || ln == nil {
		t.Fatal(ln, err)
	}
	t.Cleanup(func() { _ = ln.Close() })
	return ln
}

func packetConn(t *testing.T, l *Lease, address string) *net.UDPConn {
	t.Helper()
	conn, err := l.PacketConn(address)
	if err != nil || conn == nil {
		t.Fatal(conn, err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	return conn
}

// serve has a process take over, as an edge does.
func serve(t *testing.T, l *Lease) {
	t.Helper()
	l.SayTake()
	hasRole(t, l, Serving)
	if err := l.Serve(); err != nil {
		t.Fatal(err)
	}
}

// leave has a process end that serves.
func leave(t *testing.T, l *Lease, clients ...netip.AddrPort) {
	t.Helper()
	l.SayLeave()
	hasRole(t, l, Leaving)
	if err := l.KeepClients(func() []netip.AddrPort { return clients }); err != nil {
		t.Fatal(err)
	}
}

func hasRole(t *testing.T, l *Lease, role Role) {
	t.Helper()
	within(t, "the role is "+string(role), func() bool { return l.Role() == role })
}

func (s *Server) countLeases() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.leases)
}

func dialUDP(t *testing.T, address string) net.Conn {
	t.Helper()
	conn, err := net.Dial("udp", address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	return conn
}

func expectPacket(t *testing.T, from net.Conn, to *net.UDPConn, text string) {
	t.Helper()
	if _, err := io.WriteString(from, text); err != nil {
		t.Fatal(err)
	}
	_ = to.SetReadDeadline(time.Now().Add(10 * time.Second))
	got := make([]byte, 100)
	n, _, err := to.ReadFrom(got)
	if err != nil || string(got[:n]) != text {
		t.Fatalf("got %q, %v; want %q", got[:n], err, text)
	}
}
