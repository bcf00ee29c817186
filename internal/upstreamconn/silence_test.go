package upstreamconn_test

import (
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/theworklabs/edge/internal/upstreamconn"
)

// silenceLimit is how long most requests may hang on an endpoint whose host is gone.
const silenceLimit = 8 * time.Second

// vanishingBackend is a server whose host can go without a word.
type vanishingBackend struct{ *backend }

func newVanishingBackend(t *testing.T, handler http.HandlerFunc) vanishingBackend {
	t.Helper()
	v := vanishingBackend{newUnreadBackend(t, handler)}
	t.Cleanup(func() { // the end of the server would wait for the requests on them
		for _, conn := range v.conns() {
			_ = conn.Close()
		}
	})
	return v
}

// vanish makes the kernel drop each packet that arrives on a connection, so that nothing is acknowledged.
func (v vanishingBackend) vanish(t *testing.T) {
	t.Helper()
	for _, conn := range v.conns() {
		raw, err := conn.(*net.TCPConn).SyscallConn()
		if err != nil {
			t.Fatal(err)
		}
		dropAll := [1]unix.SockFilter{{Code: unix.BPF_RET | unix.BPF_K}}
		var setErr error
		if err := raw.Control(func(fd uintptr) {
			setErr = unix.SetsockoptSockFprog(int(fd), unix.SOL_SOCKET, unix.SO_ATTACH_FILTER, &unix.SockFprog{Len: 1, Filter: &dropAll[0]})
		}); err != nil || setErr != nil {
			t.Fatal(err, setErr)
		}
	}
}

// checkTimeout sends a request that must fail since nothing is acknowledged.
func checkTimeout(t *testing.T, c *upstreamconn.Conns, a *upstreamconn.Attempt, vanished <-chan time.Time, limit time.Duration) {
	t.Helper()
	resp, err := c.Send(a)
	took := time.Since(<-vanished)
	switch {
	case err == nil:
		resp.Body.Close()
		t.Fatalf("got a response: %s", resp.Status)
	case !errors.Is(err, syscall.ETIMEDOUT) && !errors.Is(err, os.ErrDeadlineExceeded):
		t.Errorf("got %v, want a timeout", err)
	}
	if took > limit {
		t.Errorf("the request hung for %s, want at most %s", took.Round(time.Second/10), limit)
	}
}

// after returns the time at which f has run, as soon as the backend has a request.
func after(started <-chan struct{}, delay time.Duration, f func()) <-chan time.Time {
	at := make(chan time.Time, 1)
	go func() {
		<-started
		time.Sleep(delay)
		f()
		at <- time.Now()
	}()
	return at
}

// endless is a body that does not end.
type endless struct{}

func (endless) Read(p []byte) (int, error) { return len(p), nil }

func TestARequestDoesNotHangOnAHostThatIsGone(t *testing.T) {
	t.Run("it is not acknowledged", func(t *testing.T) {
		t.Parallel()
		v := newVanishingBackend(t, func(http.ResponseWriter, *http.Request) {})
		c := v.open(t)
		exchange(t, c, newAttempt(t, http.MethodGet, "", false))
		v.vanish(t)
		vanished := make(chan time.Time, 1)
		vanished <- time.Now()
		checkTimeout(t, c, newAttempt(t, http.MethodGet, "", false), vanished, silenceLimit)
	})
	for name, test := range map[string]struct {
		method string
		body   io.Reader // the backend reads nothing of it if it is endless
		delay  time.Duration
		limit  time.Duration
	}{
		"it waits for its response": {http.MethodGet, nil, 0, silenceLimit},
		"its body is sent":          {http.MethodPut, endless{}, 0, silenceLimit},
		// The kernel doubles the time between its probes of a window that stays closed.
		"the endpoint had stopped reading the body before": {http.MethodPut, endless{}, 2 * time.Second, 20 * time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			started := make(chan struct{}, 1)
			v := newVanishingBackend(t, func(_ http.ResponseWriter, r *http.Request) {
				started <- struct{}{}
				if test.delay == 0 && test.body != nil {
					_, _ = io.Copy(io.Discard, r.Body)
				}
				<-t.Context().Done()
			})
			a := newAttempt(t, test.method, "", false)
			if test.body != nil {
				a.Body, a.ContentLength = io.NopCloser(test.body), -1
			}
			checkTimeout(t, v.open(t), a, after(started, test.delay, func() { v.vanish(t) }), test.limit)
		})
	}
}

// TestAnEndpointMayPauseWhileItReadsABody: the kernel's timeout for what is not acknowledged would end such an upload.
func TestAnEndpointMayPauseWhileItReadsABody(t *testing.T) {
	t.Parallel()
	const size = 32 << 20 // more than both kernels buffer
	b := newUnreadBackend(t, func(w http.ResponseWriter, r *http.Request) {
		time.Sleep(7 * time.Second)
		if n, err := io.Copy(io.Discard, r.Body); n != size || err != nil {
			t.Errorf("got %d bytes, %v; want %d", n, err, size)
		}
	})
	c := b.open(t)
	a := newAttempt(t, http.MethodPut, "", false)
	a.Body, a.ContentLength = io.NopCloser(io.LimitReader(endless{}, size)), size
	exchange(t, c, a)
	if got := c.SocketOptions(t).UserTimeout; got != 4000 {
		t.Errorf("after the upload, the kernel waits for an acknowledgment for %d ms, want 4000", got)
	}
}

// TestTheKernelLooksForADeadPeer: when a container is removed, its FIN may be lost with its network namespace.
func TestTheKernelLooksForADeadPeer(t *testing.T) {
	b := newBackend(t, func(http.ResponseWriter, *http.Request) {})
	c := b.open(t)
	exchange(t, c, newAttempt(t, http.MethodGet, "", false))
	want := upstreamconn.SocketOptions{KeepIdle: 2, KeepInterval: 1, KeepCount: 3, UserTimeout: 4000}
	if got := c.SocketOptions(t); got != want {
		t.Errorf("a connection has %+v, want %+v", got, want)
	}

	tunnels, _, _ := openUpgraded(t, "")
	want = upstreamconn.SocketOptions{KeepIdle: 5, KeepInterval: 2, KeepCount: 3} // the application may stop reading
	if got := tunnels.SocketOptions(t); got != want {
		t.Errorf("a tunnel has %+v, want %+v", got, want)
	}
}
