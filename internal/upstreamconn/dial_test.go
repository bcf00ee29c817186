package upstreamconn_test

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/theworklabs/edge/internal/testport"
	"github.com/theworklabs/edge/internal/upstreamconn"
)

// readCounter is an empty body that counts its reads.
type readCounter struct{ reads int }

func (c *readCounter) Read([]byte) (int, error) { c.reads++; return 0, io.EOF }

// requestKinds are requests that Send sends in different ways.
var requestKinds = []struct {
	name        string
	method      string
	body        string
	isSingleUse bool
}{
	{"no body", http.MethodGet, "", false},
	{"a body that can be sent again", http.MethodPost, "body", false},
	{"a body that can't be sent again", http.MethodPost, "body", true},
}

// wantDialError checks that no kind of request is sent, and that the error says so.
func wantDialError(t *testing.T, c *upstreamconn.Conns, address string, timeout time.Duration, cause func(error) bool) {
	t.Helper()
	for _, kind := range requestKinds {
		t.Run(kind.name, func(t *testing.T) {
			body := new(readCounter)
			req := newAttempt(t, kind.method, kind.body, kind.isSingleUse)
			req.DialTimeout = timeout
			if req.Body != nil {
				req.Body = io.NopCloser(body)
			}
			startedAt := time.Now()
			resp, err := c.Send(req)
			if err == nil {
				resp.Body.Close()
				t.Fatal("the request was sent")
			}
			dial, ok := errors.AsType[*upstreamconn.DialError](err)
			if !ok {
				t.Fatalf("got %T %v, want a DialError", err, err)
			}
			if dial.Address != address || !cause(err) {
				t.Errorf("got %v, want the cause and the address %s", err, address)
			}
			if text := err.Error(); !strings.HasPrefix(text, "dial "+address+": ") || strings.Count(text, address) != 1 {
				t.Errorf("got %q, want the address once", text)
			}
			if body.reads > 0 {
				t.Error("the body was read without a connection")
			}
			if took := time.Since(startedAt); took > belowIdleTimeout {
				t.Errorf("it took %s", took)
			}
			if n := c.Connections(); n != 0 {
				t.Errorf("%d connections are open", n)
			}
		})
	}
}

func TestARefusedDialIsADialErrorAndNothingIsSent(t *testing.T) {
	address := testport.Address(t)
	c := upstreamconn.Open(address).(*upstreamconn.Conns)
	wantDialError(t, c, address, time.Minute, func(err error) bool { return errors.Is(err, syscall.ECONNREFUSED) })
}

func TestADialTimeoutIsADialErrorAndNothingIsSent(t *testing.T) {
	address := fullBacklogAddress(t)
	c := upstreamconn.Open(address).(*upstreamconn.Conns)
	wantDialError(t, c, address, 100*time.Millisecond, func(err error) bool {
		timeout, ok := errors.AsType[net.Error](err)
		return ok && timeout.Timeout()
	})
}

// fullBacklogAddress returns an address whose accept queue is full: the kernel completes no further connect.
func fullBacklogAddress(t *testing.T) (address string) {
	t.Helper()
	fd, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { syscall.Close(fd) })
	if err := errors.Join(
		syscall.Bind(fd, &syscall.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}),
		syscall.Listen(fd, 0),
	); err != nil {
		t.Fatal(err)
	}
	name, err := syscall.Getsockname(fd)
	if err != nil {
		t.Fatal(err)
	}
	address = (&net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: name.(*syscall.SockaddrInet4).Port}).String()
	for {
		conn, err := net.DialTimeout("tcp", address, 200*time.Millisecond)
		if err != nil {
			return address
		}
		t.Cleanup(func() { conn.Close() })
	}
}

func TestARequestCanceledWhileDialingIsNoDialError(t *testing.T) {
	c := upstreamconn.Open(fullBacklogAddress(t)).(*upstreamconn.Conns)
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	a := newAttempt(t, http.MethodGet, "", false)
	a.Context = ctx
	_, err := c.Send(a)
	if _, ok := errors.AsType[*upstreamconn.DialError](err); ok || !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("got %v, want the request's own deadline, which is not the endpoint's fault", err)
	}
}
