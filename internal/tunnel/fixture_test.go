package tunnel_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"math/big"
	"net"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/theworklabs/edge/internal/tunnel"
)

// testTimeout bounds every wait for something that must happen.
const testTimeout = 20 * time.Second

// fixture is one tunnel, and what is at its two ends.
type fixture struct {
	testing.TB
	group            *tunnel.Group
	traffic          *tunnel.Traffic
	client, endpoint net.Conn // the far ends
	report           chan tunnel.Report
}

// openTunnel opens a tunnel over TCP. Its ends may be changed before.
func openTunnel(t testing.TB, change ...func(*tunnel.Config)) *fixture {
	t.Helper()
	s := newFixture(t)
	var ends tunnel.Config
	s.client, ends.Client = tcpPair(t)
	s.endpoint, ends.Endpoint = tcpPair(t)
	s.start(ends, change...)
	return s
}

func newFixture(t testing.TB) *fixture {
	s := &fixture{
		TB: t, group: tunnel.NewGroup(tunnel.NewGroup(nil)), traffic: &tunnel.Traffic{Parent: new(tunnel.Traffic)},
		report: make(chan tunnel.Report, 10),
	}
	t.Cleanup(func() { s.expectNoGoroutines() })
	return s
}

func (s *fixture) start(ends tunnel.Config, change ...func(*tunnel.Config)) {
	ends.Traffic = s.traffic
	ends.OnClose = func(r tunnel.Report) { s.report <- r }
	for _, c := range change {
		c(&ends)
	}
	s.Cleanup(func() { s.client.Close(); s.endpoint.Close() })
	for _, c := range []net.Conn{s.client, s.endpoint} {
		if err := c.SetDeadline(time.Now().Add(testTimeout)); err != nil {
			s.Fatal(err)
		}
	}
	s.group.Open(ends)
}

func webSocket(e *tunnel.Config) { e.WebSocket = true }

// tcpPair returns the two ends of a TCP connection.
func tcpPair(t testing.TB) (far, near net.Conn) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	if far, err = net.Dial("tcp", ln.Addr().String()); err != nil {
		t.Fatal(err)
	}
	if near, err = ln.Accept(); err != nil {
		t.Fatal(err)
	}
	return far, near
}

// startTLS puts TLS on a connection.
func startTLS(t testing.TB, far, near net.Conn) (client, server *tls.Conn) {
	t.Helper()
	client = tls.Client(far, &tls.Config{InsecureSkipVerify: true})
	server = tls.Server(near, serverTLSConfig(t))
	done := make(chan error, 1)
	go func() { done <- client.Handshake() }()
	if err := errors.Join(server.Handshake(), <-done); err != nil {
		t.Fatal(err)
	}
	return client, server
}

func serverTLSConfig(t testing.TB) *tls.Config {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	return &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}}
}

// waitClosed returns the tunnel's report, and checks that nothing is open. An empty name stands for anybody.
func (s *fixture) waitClosed(by, reason string) tunnel.Report {
	s.Helper()
	select {
	case r := <-s.report:
		if by != "" && r.ClosedBy != by || r.ClosedBy == "" || !strings.Contains(r.Reason, reason) {
			s.Errorf("ended by %s (%s), want by %s (%s)", r.ClosedBy, r.Reason, by, reason)
		}
		if n := s.traffic.Parent.Sockets.Load(); n != 0 {
			s.Errorf("%d sockets are still counted", n)
		}
		return r
	case <-time.After(testTimeout):
		s.Fatal("it did not end")
		panic("unreachable")
	}
}

// eventually waits for a state.
func (s *fixture) eventually(reached func() bool, state func() any) {
	s.Helper()
	deadline := time.Now().Add(testTimeout)
	for tick := time.NewTicker(time.Millisecond); !reached(); <-tick.C {
		if time.Now().After(deadline) {
			s.Fatalf("still %v", state())
		}
	}
}

// send writes to a connection.
func (s *fixture) send(conn net.Conn, p string) {
	s.Helper()
	if _, err := io.WriteString(conn, p); err != nil {
		s.Fatal(err)
	}
}

// expect checks what comes next.
func (s *fixture) expect(conn net.Conn, want string) {
	s.Helper()
	got := make([]byte, len(want))
	if n, err := io.ReadFull(conn, got); err != nil || string(got) != want {
		s.Fatalf("got %q, %v, want %q", got[:n], err, want)
	}
}

// expectEOF checks that nothing comes any more.
func (s *fixture) expectEOF(conn net.Conn) {
	s.Helper()
	if rest, err := io.ReadAll(conn); err != nil || len(rest) > 0 {
		s.Errorf("got %q, %v, want the end", rest, err)
	}
}

// halfClose ends what a side says.
func (s *fixture) halfClose(conn net.Conn) {
	s.Helper()
	if err := conn.(interface{ CloseWrite() error }).CloseWrite(); err != nil {
		s.Fatal(err)
	}
}

// reset breaks a connection.
func (s *fixture) reset(conn net.Conn) {
	s.Helper()
	if err := errors.Join(conn.(*net.TCPConn).SetLinger(0), conn.Close()); err != nil {
		s.Fatal(err)
	}
}

// goroutines returns the stacks of those that run the package's code.
func goroutines() []string {
	stacks := make([]byte, 8<<20)
	stacks = stacks[:runtime.Stack(stacks, true)]
	return slices.DeleteFunc(strings.Split(string(stacks), "\n\n"), func(stack string) bool {
		return !strings.Contains(stack, "/internal/tunnel.")
	})
}

// expectNoGoroutines waits until no goroutine runs the package's code.
func (s *fixture) expectNoGoroutines() {
	s.Helper()
	var left []string
	for deadline := time.Now().Add(testTimeout); time.Now().Before(deadline); runtime.Gosched() {
		if left = goroutines(); len(left) == 0 {
			return
		}
	}
	s.Errorf("%d goroutines were left behind:\n%s", len(left), strings.Join(left, "\n\n"))
}
