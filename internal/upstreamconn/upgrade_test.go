package upstreamconn_test

import (
	"io"
	"net"
	"net/http"
	"runtime"
	"testing"
	"time"

	"github.com/theworklabs/edge/internal/tunnel"
	"github.com/theworklabs/edge/internal/upstreamconn"
)

// newUpgrade makes a request for another protocol.
func newUpgrade(t *testing.T) *upstreamconn.Attempt {
	t.Helper()
	a := newAttempt(t, http.MethodGet, "", false)
	a.Request.Header.Set("Connection", "Upgrade")
	a.Request.Header.Set("Upgrade", "talk")
	return a
}

// openUpgraded upgrades a connection to an application, which sends text right after its response and then echoes.
func openUpgraded(t *testing.T, text string) (*upstreamconn.Conns, net.Conn, []byte) {
	t.Helper()
	b := newBackend(t, func(w http.ResponseWriter, _ *http.Request) {
		conn, _, err := http.NewResponseController(w).Hijack()
		if err != nil {
			return
		}
		defer conn.Close()
		_, _ = io.WriteString(conn, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: talk\r\n\r\n"+text)
		_, _ = io.Copy(conn, conn)
	})
	c := b.open(t)
	resp, err := c.Send(newUpgrade(t))
	if err != nil {
		t.Fatal(err)
	}
	conn, ahead := resp.Body.(*upstreamconn.UpgradedConn).Hijack()
	t.Cleanup(func() { conn.Close() })
	return c, conn, ahead
}

func TestHijackReturnsWhatWasReadAhead(t *testing.T) {
	for _, text := range []string{"", "first bytes"} {
		_, conn, ahead := openUpgraded(t, text)
		if _, err := io.WriteString(conn, "and more"); err != nil {
			t.Fatal(err)
		}
		rest := make([]byte, len(text)-len(ahead)+len("and more"))
		if err := conn.SetReadDeadline(time.Now().Add(waitTimeout)); err != nil {
			t.Fatal(err)
		}
		if _, err := io.ReadFull(conn, rest); err != nil || string(ahead)+string(rest) != text+"and more" {
			t.Errorf("got %q and %q, %v", ahead, rest, err)
		}
	}
}

// TestAHijackedConnectionKeepsLittleMemory: most of what a WebSocket needs is in the kernel.
func TestAHijackedConnectionKeepsLittleMemory(t *testing.T) {
	const tunnels = 200
	b := newBackend(t, func(w http.ResponseWriter, _ *http.Request) {
		conn, _, err := http.NewResponseController(w).Hijack()
		if err != nil {
			return
		}
		_, _ = io.WriteString(conn, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: talk\r\n\r\n")
		t.Cleanup(func() { conn.Close() })
	})
	c := b.open(t)
	var conns []net.Conn
	memory := func() int64 {
		runtime.GC()
		runtime.GC() // the first one moves the pools' memory aside
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return int64(m.HeapAlloc)
	}
	open := func() {
		resp, err := c.Send(newUpgrade(t))
		if err != nil {
			t.Fatal(err)
		}
		conn, _ := resp.Body.(*upstreamconn.UpgradedConn).Hijack()
		conns = append(conns, conn)
	}
	open()
	before := memory()
	for range tunnels {
		open()
	}
	each := (memory() - before) / tunnels
	t.Logf("%d bytes for each, the backend's included", each)
	if each > 2<<10 {
		t.Errorf("a tunnel keeps %d bytes, with the backend's", each)
	}
	runtime.KeepAlive(conns)
}

func TestAbortReportsTunnelsAsClosedByTheEdge(t *testing.T) {
	c, conn, _ := openUpgraded(t, "")
	near, far := net.Pipe()
	t.Cleanup(func() { far.Close() })
	reports := make(chan tunnel.Report, 1)
	c.Tunnels().Open(tunnel.Config{
		Client: near, Endpoint: conn, Traffic: c.TrafficCounters(), OnClose: func(r tunnel.Report) { reports <- r },
	})
	c.Abort()
	select {
	case r := <-reports:
		if r.ClosedBy != tunnel.Edge || r.Reason != "cut" {
			t.Errorf("closed by %s: %s; want edge: cut", r.ClosedBy, r.Reason)
		}
	case <-time.After(waitTimeout):
		t.Error("the tunnel is still open")
	}
}
