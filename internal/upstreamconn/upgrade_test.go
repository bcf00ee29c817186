package upstreamconn_test

import (
	"io"
	"net"
	"net/http"
	"testing"
	"time"

	"github.com/theworklabs/edge/internal/tunnel"
	"github.com/theworklabs/edge/internal/upstreamconn"
)

// openUpgraded opens a link to an application that has taken its connection over, and returns that connection.
func openUpgraded(t *testing.T, words string) (*upstreamconn.Conns, net.Conn, []byte) {
	t.Helper()
	b := newBackend(t, func(w http.ResponseWriter, _ *http.Request) {
		conn, _, err := http.NewResponseController(w).Hijack()
		if err != nil {
			return
		}
		defer conn.Close()
		_, _ = io.WriteString(conn, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: talk\r\n\r\n"+words)
		_, _ = io.Copy(conn, conn)
	})
	l := b.open(t)
	req := newRequest(t, http.MethodGet, "", false)
	req.Header.Set("Connection", "Upgrade")
	req.Header.Set("Upgrade", "talk")
	resp, err := l.Send(req)
	if err != nil {
		t.Fatal(err)
	}
	conn, ahead := resp.Body.(*upstreamconn.UpgradedConn).Hijack()
	t.Cleanup(func() { conn.Close() })
	return l, conn, ahead
}

func TestHijackReturnsWhatWasReadAhead(t *testing.T) {
	for _, words := range []string{"", "first words"} {
		_, conn, ahead := openUpgraded(t, words)
		if _, err := io.WriteString(conn, "and more"); err != nil {
			t.Fatal(err)
		}
		rest := make([]byte, len(words)-len(ahead)+len("and more"))
		if err := conn.SetReadDeadline(time.Now().Add(waitTimeout)); err != nil {
			t.Fatal(err)
		}
		if _, err := io.ReadFull(conn, rest); err != nil || string(ahead)+string(rest) != words+"and more" {
			t.Errorf("%q and %q %v", ahead, rest, err)
		}
	}
}

func TestAbortReportsTunnelsAsClosedByTheEdge(t *testing.T) {
	l, conn, _ := openUpgraded(t, "")
	near, far := net.Pipe()
	t.Cleanup(func() { far.Close() })
	ended := make(chan tunnel.Report, 1)
	l.Tunnels().Open(tunnel.Config{
		Client: near, Endpoint: conn, Traffic: l.TrafficCounters(), OnClose: func(r tunnel.Report) { ended <- r },
	})
	l.Abort()
	select {
	case r := <-ended:
		if r.ClosedBy != tunnel.Edge || r.Reason != "cut" {
			t.Errorf("ended by %s: %s", r.ClosedBy, r.Reason)
		}
	case <-time.After(waitTimeout):
		t.Error("it goes on")
	}
}
