package attacks

import (
	"bufio"
	"crypto/tls"
	"fmt"
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// TestMaintenanceAllowlistIgnoresSpoofedHeaders: who passes is who connects from the address, not who says so.
func TestMaintenanceAllowlistIgnoresSpoofedHeaders(t *testing.T) {
	closed, err := startEdge(filepath.Join(t.TempDir(), "closed"), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := closed.stop(); err != nil {
			t.Error(err)
		}
	}()
	resp, err := closed.admin.Post("http://localhost/edge/maintenance", "application/json", strings.NewReader(`{"on": true, "services": ["corteza-docs"], "allow": ["127.0.0.77"]}`))
	if err != nil || resp.StatusCode != http.StatusOK {
		t.Fatalf("%v %v", resp, err)
	}
	resp.Body.Close()
	for _, c := range []struct {
		from, claim string
		want        int
	}{
		{"127.0.0.1", "", http.StatusServiceUnavailable},
		{"127.0.0.1", "X-Forwarded-For: 127.0.0.77", http.StatusServiceUnavailable},
		{"127.0.0.1", "X-Real-IP: 127.0.0.77", http.StatusServiceUnavailable},
		{"127.0.0.1", "Forwarded: for=127.0.0.77", http.StatusServiceUnavailable},
		{"127.0.0.77", "", http.StatusOK},
		{"127.0.0.77", "X-Forwarded-For: 192.0.2.1", http.StatusOK},
	} {
		dialer := &net.Dialer{Timeout: 5 * time.Second, LocalAddr: &net.TCPAddr{IP: net.ParseIP(c.from)}}
		conn, err := tls.DialWithDialer(dialer, "tcp", closed.https, &tls.Config{ServerName: "docs.localhost", InsecureSkipVerify: true})
		if err != nil {
			t.Fatal(err)
		}
		head := c.claim
		if head != "" {
			head += "\r\n"
		}
		fmt.Fprintf(conn, "GET /x HTTP/1.1\r\nHost: docs.localhost\r\n%sConnection: close\r\n\r\n", head)
		got, err := http.ReadResponse(bufio.NewReader(conn), nil)
		if err != nil || got.StatusCode != c.want {
			t.Errorf("from %s with %q: %v %v, want %d", c.from, c.claim, got, err, c.want)
		}
		conn.Close()
	}
}
