package tests

import (
	"bufio"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"testing"
	"time"
)

// bodyIdleTimeout is how long a client may pause within a body with the shipped Caddyfile (read_body_idle).
const bodyIdleTimeout = 30 * time.Second

// TestSlowUploadSucceedsAndStalledOneIsClosed: the limit is on pauses within a body, not on the time of the whole body.
func TestSlowUploadSucceedsAndStalledOneIsClosed(t *testing.T) {
	p := readyStack(t)
	t.Parallel()

	stalled := p.beginUpload(t, 1000)
	began := time.Now()
	ended := make(chan time.Duration, 1)
	go func() {
		_, _ = io.Copy(io.Discard, stalled) // with or without a response, the connection has to end
		ended <- time.Since(began)
	}()

	slow := p.beginUpload(t, 36)
	ticker := time.NewTicker(time.Second) // the speed of the client's network
	defer ticker.Stop()
	for range 36 {
		<-ticker.C
		if _, err := slow.Write([]byte("x")); err != nil {
			t.Fatalf("the edge closes the slow upload after %s: %v", time.Since(began), err)
		}
	}
	resp, err := http.ReadResponse(bufio.NewReader(slow), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		t.Errorf("a slow upload of %s gets %d, want 200", time.Since(began), resp.StatusCode)
	}
	select {
	case after := <-ended:
		if after < bodyIdleTimeout-time.Second {
			t.Errorf("the edge closes the stalled upload after %s, want %s", after, bodyIdleTimeout)
		}
	case <-time.After(2 * bodyIdleTimeout):
		t.Error("the stalled upload is still open")
	}
}

// beginUpload sends the head of a POST of size bytes to the application.
func (p *project) beginUpload(t *testing.T, size int) net.Conn {
	t.Helper()
	conn, err := tls.Dial("tcp", "127.0.0.1:"+p.HTTPS, &tls.Config{
		InsecureSkipVerify: true, ServerName: "accounting.localhost", NextProtos: []string{"http/1.1"},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() }) // the edge may have closed it
	if _, err := fmt.Fprintf(conn, "POST /api/upload HTTP/1.1\r\nHost: accounting.localhost\r\nConnection: close\r\nContent-Length: %d\r\n\r\n", size); err != nil {
		t.Fatal(err)
	}
	return conn
}
