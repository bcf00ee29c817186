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

// TestMaintenanceAllowlistIgnoresSpoofedHeaders checks that the address of the connection decides, and not what headers claim.
func TestMaintenanceAllowlistIgnoresSpoofedHeaders(t *testing.T) {
	e, err := startEdge(filepath.Join(t.TempDir(), "edge"), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := e.stop(); err != nil {
			t.Error(err)
		}
	}()
	resp, err := e.admin.Post("http://localhost/edge/maintenance", "application/json", strings.NewReader(`{"on": true, "services": ["corteza-docs"], "allow": ["127.0.0.77"]}`))
	if err != nil || resp.StatusCode != http.StatusOK {
		t.Fatalf("%v %v", resp, err)
	}
	resp.Body.Close()
	for _, c := range []struct {
		from, spoofed string
		want          int
	}{
		{"127.0.0.1", "", http.StatusServiceUnavailable},
		{"127.0.0.1", "X-Forwarded-For: 127.0.0.77", http.StatusServiceUnavailable},
		{"127.0.0.1", "X-Real-IP: 127.0.0.77", http.StatusServiceUnavailable},
		{"127.0.0.1", "Forwarded: for=127.0.0.77", http.StatusServiceUnavailable},
		{"127.0.0.77", "", http.StatusOK},
		{"127.0.0.77", "X-Forwarded-For: 192.0.2.1", http.StatusOK},
	} {
		dialer := &net.Dialer{Timeout: 5 * time.Second, LocalAddr: &net.TCPAddr{IP: net.ParseIP(c.from)}}
		conn, err := tls.DialWithDialer(dialer, "tcp", e.https, &tls.Config{ServerName: "docs.localhost", InsecureSkipVerify: true})
		if err != nil {
			t.Fatal(err)
		}
		head := c.spoofed
		if head != "" {
			head += "\r\n"
		}
		fmt.Fprintf(conn, "GET /x HTTP/1.1\r\nHost: docs.localhost\r\n%sConnection: close\r\n\r\n", head)
		got, err := http.ReadResponse(bufio.NewReader(conn), nil)
		if err != nil || got.StatusCode != c.want {
			t.Errorf("from %s with %q: %v %v, want %d", c.from, c.spoofed, got, err, c.want)
		}
		conn.Close()
	}
}
