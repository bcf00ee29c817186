package upstreamconn_test

import (
	"errors"
	"io"
	"net"
	"net/http"
	"strconv"
	"testing"
	"time"

	"github.com/theworklabs/edge/internal/upstreamconn"
)

// TestAClientThatFailsAfterTheEndOfTheEndpoint: the whole body has arrived, and the endpoint has closed the connection, before the client does not take it. That is not the endpoint's fault.
func TestAClientThatFailsAfterTheEndOfTheEndpoint(t *testing.T) {
	const size = 64 << 10
	b := newBackend(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Length", strconv.Itoa(size))
		_, _ = w.Write(make([]byte, size))
	})
	c, errWrite := b.open(t), errors.New("the client's")
	for range 20 { // the machine may be so busy that not all has arrived in time
		resp, err := c.Send(newAttempt(t, http.MethodGet, "", false))
		if err != nil {
			t.Fatal(err)
		}
		time.Sleep(20 * time.Millisecond)
		left, buf := int64(size), make([]byte, 4<<10)
		copying := readerFrom(func(r io.Reader) (int64, error) {
			n, err := io.Copy(io.Discard, r) // as into the pipe of splice
			if n < left {
				return n, err
			}
			all := b.conns()
			if err := all[len(all)-1].(*net.TCPConn).Close(); err != nil {
				t.Error(err)
			}
			time.Sleep(5 * time.Millisecond) // until that has arrived
			return 0, errWrite
		})
		for err == nil {
			var n int64
			var fromEndpoint bool
			if n, fromEndpoint, err = resp.Body.(upstreamconn.RestCopier).CopyArrived(copying); errors.Is(err, errWrite) {
				if fromEndpoint {
					t.Error("it is said to be the endpoint's fault")
				}
				resp.Body.Close()
				return
			}
			if n == 0 && err == nil {
				var read int
				read, err = resp.Body.Read(buf)
				n = int64(read)
			}
			left -= n
		}
		resp.Body.Close()
		if err != io.EOF {
			t.Fatal(err)
		}
	}
	t.Error("the last part was never copied")
}
