package upstreamconn_test

import (
	"errors"
	"io"
	"net"
	"net/http"
	"testing"

	"github.com/theworklabs/edge/internal/upstreamconn"
)

// TestAClientThatFailsAfterTheEndOfTheEndpoint: the last part has arrived, and the endpoint has closed the connection, before the client does not take it. That is not the endpoint's fault.
func TestAClientThatFailsAfterTheEndOfTheEndpoint(t *testing.T) {
	b, _ := newLongBackend(t, nil)
	resp, err := b.open(t).Send(newAttempt(t, http.MethodGet, "", false))
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	errWrite, left := errors.New("the client's"), int64(restSize)
	copying := readerFrom(func(r io.Reader) (int64, error) {
		n, err := io.Copy(io.Discard, r) // as into the pipe of splice
		if n < left {
			return n, err
		}
		endpoint := b.conns()[0].(*net.TCPConn)
		if err := errors.Join(endpoint.CloseWrite(), endpoint.CloseRead()); err != nil {
			t.Error(err)
		}
		return 0, errWrite
	})
	buf := make([]byte, 16<<10)
	for {
		n, fromEndpoint, err := resp.Body.(upstreamconn.RestCopier).CopyArrived(copying)
		if left -= n; errors.Is(err, errWrite) {
			if fromEndpoint {
				t.Error("it is said to be the endpoint's fault")
			}
			return
		}
		if err != nil {
			t.Fatalf("%v: the last part was not copied", err)
		}
		if n > 0 {
			continue
		}
		read, err := resp.Body.Read(buf[:min(int64(len(buf)), max(1, left-32<<10))]) // so that the last part is large enough to be copied
		if left -= int64(read); err != nil {
			t.Fatalf("%v: the last part was not copied", err)
		}
	}
}
