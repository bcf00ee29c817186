package upstreamconn_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/theworklabs/edge/internal/upstreamconn"
)

// restSize is the size of the bodies of these tests.
const restSize = 8 << 20

// newLongBackend returns a backend that sends a long body, and calls then at half of it.
func newLongBackend(t *testing.T, then func(http.ResponseWriter)) (*backend, []byte) {
	t.Helper()
	body := make([]byte, restSize)
	for i := range body {
		body[i] = byte(i * 7 >> 3)
	}
	return newBackend(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Length", strconv.Itoa(len(body)))
		_, _ = w.Write(body[:restSize/2])
		if then != nil {
			then(w)
		}
		_, _ = w.Write(body[restSize/2:])
	}), body
}

// newClientConn returns both ends of a TCP connection: that of the edge, and that of the client.
func newClientConn(t *testing.T) (edge, client *net.TCPConn) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	dialed, err := net.Dial("tcp", ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	accepted, err := ln.Accept()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { dialed.Close(); accepted.Close() })
	return accepted.(*net.TCPConn), dialed.(*net.TCPConn)
}

// copyAll copies the response of a GET to w, as much as it can by CopyArrived. copied is how much that was.
func copyAll(t *testing.T, c *upstreamconn.Conns, a *upstreamconn.Attempt, w *net.TCPConn) (copied int64, readErr, writeErr error) {
	t.Helper()
	resp, err := c.Send(a)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	buf := make([]byte, 16<<10)
	for {
		part, fromEndpoint, err := resp.Body.(upstreamconn.RestCopier).CopyArrived(w)
		copied += part
		switch {
		case err == io.EOF:
			return copied, nil, nil
		case fromEndpoint:
			return copied, err, nil
		case err != nil:
			return copied, nil, err
		case part > 0:
			continue
		}
		n, err := resp.Body.Read(buf)
		if _, err := w.Write(buf[:n]); err != nil {
			return copied, nil, err
		}
		if err == io.EOF {
			return copied, nil, nil
		}
		if err != nil {
			return copied, err, nil
		}
	}
}

func TestTheRestOfABodyIsCopied(t *testing.T) {
	b, body := newLongBackend(t, nil)
	c := b.open(t)
	for range 3 {
		edge, client := newClientConn(t)
		got := make(chan []byte)
		go func() {
			text, _ := io.ReadAll(client) // compared below
			got <- text
		}()
		copied, readErr, writeErr := copyAll(t, c, newAttempt(t, http.MethodGet, "", false), edge)
		if readErr != nil || writeErr != nil {
			t.Fatal(readErr, writeErr)
		}
		if copied < restSize/4 {
			t.Errorf("the kernel has copied %d of %d bytes", copied, restSize)
		}
		edge.Close()
		if text := <-got; !bytes.Equal(text, body) {
			t.Fatalf("got %d bytes, want the %d of the body", len(text), len(body))
		}
	}
	if n := b.opened.Load(); n != 1 {
		t.Errorf("3 requests took %d connections, want 1, which is used again", n)
	}
}

// TestAShortEndIsReadAfterTheRest: what comes last, and is too little for the kernel, is read as usual.
func TestAShortEndIsReadAfterTheRest(t *testing.T) {
	const long, short = 1 << 20, 1000
	b := newBackend(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Length", strconv.Itoa(long+short))
		_, _ = w.Write(bytes.Repeat([]byte("a"), long))
		_ = http.NewResponseController(w).Flush()
		time.Sleep(100 * time.Millisecond)
		_, _ = w.Write(bytes.Repeat([]byte("b"), short))
	})
	c := b.open(t)
	for range 3 {
		edge, client := newClientConn(t)
		got := make(chan int64)
		go func() {
			n, _ := io.Copy(io.Discard, client) // compared below
			got <- n
		}()
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		defer cancel()
		a := newAttempt(t, http.MethodGet, "", false)
		a.Context = ctx
		copied, readErr, writeErr := copyAll(t, c, a, edge)
		edge.Close()
		if n := <-got; readErr != nil || writeErr != nil || n != long+short || copied == 0 || copied > long {
			t.Fatalf("got %d bytes, of which the kernel has copied %d; %v, %v", n, copied, readErr, writeErr)
		}
	}
	if n := b.opened.Load(); n != 1 {
		t.Errorf("3 requests took %d connections, want 1, which is used again", n)
	}
}

func TestShortBodiesAreNotCopiedByTheKernel(t *testing.T) {
	b := newBackend(t, func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "short") })
	resp, err := b.open(t).Send(newAttempt(t, http.MethodGet, "", false))
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	edge, _ := newClientConn(t)
	if n, fromEndpoint, err := resp.Body.(upstreamconn.RestCopier).CopyArrived(edge); n != 0 || fromEndpoint || err != nil {
		t.Error(n, fromEndpoint, err)
	}
	if text, err := io.ReadAll(resp.Body); string(text) != "short" || err != nil {
		t.Errorf("%q, %v", text, err)
	}
}

// TestTheSideThatBreaksARestIsKnown: an endpoint that dies is to blame, and a client that leaves is not.
func TestTheSideThatBreaksARestIsKnown(t *testing.T) {
	reset := func(conn net.Conn) {
		_ = conn.(*net.TCPConn).SetLinger(0)
		_ = conn.Close()
	}
	for _, end := range []struct {
		name string
		end  func(net.Conn)
	}{{"ends", func(conn net.Conn) { _ = conn.Close() }}, {"resets", reset}} {
		t.Run("the endpoint "+end.name, func(t *testing.T) {
			b, _ := newLongBackend(t, func(w http.ResponseWriter) {
				conn, buf, err := http.NewResponseController(w).Hijack()
				if err != nil {
					t.Error(err)
					return
				}
				_ = buf.Flush()
				end.end(conn)
				panic(http.ErrAbortHandler)
			})
			edge, client := newClientConn(t)
			go func() { _, _ = io.Copy(io.Discard, client) }()
			_, readErr, writeErr := copyAll(t, b.open(t), newAttempt(t, http.MethodGet, "", false), edge)
			if readErr == nil || writeErr != nil {
				t.Errorf("read: %v, write: %v; want the endpoint's error", readErr, writeErr)
			}
			b.eventuallyClosed(t, 1)
		})
	}
	for _, end := range []struct {
		name string
		end  func(net.Conn)
	}{{"leaves", func(conn net.Conn) { _ = conn.Close() }}, {"resets", reset}} {
		t.Run("the client "+end.name, func(t *testing.T) {
			edge, client := newClientConn(t)
			b, _ := newLongBackend(t, func(http.ResponseWriter) { end.end(client) })
			_, readErr, writeErr := copyAll(t, b.open(t), newAttempt(t, http.MethodGet, "", false), edge)
			if readErr != nil || writeErr == nil {
				t.Errorf("read: %v, write: %v; want the client's error", readErr, writeErr)
			}
			b.eventuallyClosed(t, 1)
		})
	}
	t.Run("the context ends", func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		b, _ := newLongBackend(t, func(http.ResponseWriter) {
			<-ctx.Done()
			time.Sleep(50 * time.Millisecond)
		})
		edge, client := newClientConn(t)
		go func() {
			_, _ = client.Read(make([]byte, 1)) // so that the response has begun
			cancel()
			_, _ = io.Copy(io.Discard, client)
		}()
		defer cancel()
		a := newAttempt(t, http.MethodGet, "", false)
		a.Context = ctx
		if _, readErr, _ := copyAll(t, b.open(t), a, edge); !errors.Is(readErr, context.Canceled) {
			t.Errorf("%v, want that of the context", readErr)
		}
	})
	t.Run("the endpoint is slow", func(t *testing.T) {
		b, body := newLongBackend(t, func(http.ResponseWriter) { time.Sleep(300 * time.Millisecond) })
		edge, client := newClientConn(t)
		got := make(chan []byte)
		go func() {
			text, _ := io.ReadAll(client) // compared below
			got <- text
		}()
		if _, readErr, writeErr := copyAll(t, b.open(t), newAttempt(t, http.MethodGet, "", false), edge); readErr != nil || writeErr != nil {
			t.Error(readErr, writeErr)
		}
		edge.Close()
		if text := <-got; !bytes.Equal(text, body) {
			t.Errorf("got %d bytes, want the %d of the body", len(text), len(body))
		}
	})
	t.Run("the client does not read in time", func(t *testing.T) {
		b, _ := newLongBackend(t, nil)
		edge, _ := newClientConn(t)
		if err := edge.SetWriteDeadline(time.Now().Add(100 * time.Millisecond)); err != nil {
			t.Fatal(err)
		}
		if _, readErr, writeErr := copyAll(t, b.open(t), newAttempt(t, http.MethodGet, "", false), edge); readErr != nil || writeErr == nil {
			t.Errorf("read: %v, write: %v; want the client's error", readErr, writeErr)
		}
	})
}

// readerFrom is a function as an [io.ReaderFrom].
type readerFrom func(io.Reader) (int64, error)

// ReadFrom implements [io.ReaderFrom].
func (f readerFrom) ReadFrom(r io.Reader) (int64, error) { return f(r) }

// TestWhatBreaksARestWhileItIsCopied: data has arrived; then the endpoint, the context or the client breaks the copy.
func TestWhatBreaksARestWhileItIsCopied(t *testing.T) {
	errWrite := errors.New("the client's")
	for name, c := range map[string]struct {
		breakOff     func(endpoint *net.TCPConn, cancel func()) // before the kernel is asked
		fromEndpoint bool
		want         error // nil for any
	}{
		"the endpoint resets": {func(endpoint *net.TCPConn, _ func()) {
			_ = endpoint.SetLinger(0)
			_ = endpoint.Close()
		}, true, nil},
		"the context ends": {func(_ *net.TCPConn, cancel func()) { cancel() }, true, context.Canceled},
		"the client does":  {nil, false, errWrite},
	} {
		t.Run(name, func(t *testing.T) {
			b, _ := newLongBackend(t, nil)
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			a := newAttempt(t, http.MethodGet, "", false)
			a.Context = ctx
			resp, err := b.open(t).Send(a)
			if err != nil {
				t.Fatal(err)
			}
			defer resp.Body.Close()
			isAsked := false
			copying := readerFrom(func(r io.Reader) (int64, error) {
				isAsked = true
				if c.breakOff == nil {
					return 0, errWrite
				}
				c.breakOff(b.conns()[0].(*net.TCPConn), cancel)
				return io.Copy(io.Discard, r.(*io.LimitedReader).R)
			})
			buf := make([]byte, 16<<10)
			for err == nil && !isAsked {
				var fromEndpoint bool
				_, fromEndpoint, err = resp.Body.(upstreamconn.RestCopier).CopyArrived(copying)
				if isAsked {
					if err == nil || fromEndpoint != c.fromEndpoint || c.want != nil && !errors.Is(err, c.want) {
						t.Errorf("got %v, from the endpoint: %v", err, fromEndpoint)
					}
					b.eventuallyClosed(t, 1)
					return
				}
				_, err = resp.Body.Read(buf)
			}
			t.Fatalf("the kernel was not asked: %v", err)
		})
	}
}

// TestOnlyWhatHasArrivedIsCopied: the deadlines of the client's connection hold while the kernel copies, and are not for a slow endpoint.
func TestOnlyWhatHasArrivedIsCopied(t *testing.T) {
	goOn := make(chan struct{})
	goesOn := sync.OnceFunc(func() { close(goOn) })
	b, body := newLongBackend(t, func(w http.ResponseWriter) {
		_ = http.NewResponseController(w).Flush()
		<-goOn
	})
	defer goesOn()
	var got bytes.Buffer
	asked, sent := 0, restSize/2
	copying := readerFrom(func(r io.Reader) (int64, error) {
		asked++
		if n := r.(*io.LimitedReader).N; n > int64(sent-got.Len()) {
			t.Errorf("the kernel is asked for %d bytes, and at most %d have arrived", n, sent-got.Len())
			return 0, io.ErrUnexpectedEOF
		}
		return got.ReadFrom(r)
	})
	resp, err := b.open(t).Send(newAttempt(t, http.MethodGet, "", false))
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	buf := make([]byte, 16<<10)
	for err == nil {
		var n int64
		if n, _, err = resp.Body.(upstreamconn.RestCopier).CopyArrived(copying); n == 0 && err == nil {
			if got.Len() == restSize/2 {
				sent = restSize
				goesOn()
			}
			var read int
			read, err = resp.Body.Read(buf)
			got.Write(buf[:read])
		}
	}
	if err != io.EOF || asked == 0 || !bytes.Equal(got.Bytes(), body) {
		t.Errorf("%v: got %d bytes in %d calls, want the %d of the body", err, got.Len(), asked, len(body))
	}
}

// TestWhatFollowsARestIsNotRead: an endpoint that sends more than its Content-Length has the connection closed, and the client does not get it.
func TestWhatFollowsARestIsNotRead(t *testing.T) {
	const long, short = 1 << 20, 1000
	isRead := make(chan struct{}) // by the client: all but the end
	b := newBackend(t, func(w http.ResponseWriter, _ *http.Request) {
		conn, _, err := http.NewResponseController(w).Hijack()
		if err != nil {
			t.Error(err)
			return
		}
		defer conn.Close()
		_, _ = conn.Write(append([]byte("HTTP/1.1 200 OK\r\nContent-Length: "+strconv.Itoa(long+short)+"\r\n\r\n"), bytes.Repeat([]byte("a"), long)...))
		<-isRead
		_, _ = conn.Write(bytes.Repeat([]byte("b"), short+500))
		_, _ = io.Copy(io.Discard, conn) // until the edge closes it
	})
	c := b.open(t)
	edge, client := newClientConn(t)
	got := make(chan int64)
	go func() {
		n, _ := io.CopyN(io.Discard, client, long) // compared below
		close(isRead)
		rest, _ := io.Copy(io.Discard, client)
		got <- n + rest
	}()
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	a := newAttempt(t, http.MethodGet, "", false)
	a.Context = ctx
	copied, readErr, writeErr := copyAll(t, c, a, edge)
	edge.Close()
	if n := <-got; readErr != nil || writeErr != nil || n != long+short || copied == 0 {
		t.Errorf("got %d bytes, of which the kernel has copied %d; %v, %v", n, copied, readErr, writeErr)
	}
	if n := c.Connections(); n != 0 {
		t.Errorf("%d connections are kept, want none", n)
	}
}
