package upstreamconn_test

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"github.com/theworklabs/edge/internal/upstreamconn"
)

// TestBodiesArriveWhole sends bodies of many lengths, with and without a length, in pieces of many sizes.
func TestBodiesArriveWhole(t *testing.T) {
	b := newEchoingBackend(t)
	c := b.open(t)
	content := make([]byte, 200_000)
	for i := range content {
		content[i] = byte(rand.IntN(256))
	}
	for _, length := range []int{0, 1, 59, 4095, 4096, 4097, 32 << 10, 32<<10 + 1, len(content)} {
		for pieces, wrap := range map[string]func(io.Reader) io.Reader{
			"whole": func(r io.Reader) io.Reader { return r }, "half": iotest.HalfReader, "with the end": iotest.DataErrReader,
			"of 7 bytes": func(r io.Reader) io.Reader { return &piecewise{r, 7} },
		} {
			for _, isKnown := range []bool{true, false} {
				a := newAttempt(t, http.MethodPost, "", false)
				a.Body, a.ContentLength = io.NopCloser(wrap(bytes.NewReader(content[:length]))), int64(length)
				if !isKnown {
					a.ContentLength = -1
				}
				if got := exchange(t, c, a); got != string(content[:length]) {
					t.Errorf("%d bytes, %s, length known %t: %d bytes came back, or others", length, pieces, isKnown, len(got))
				}
			}
		}
	}
}

// newEchoingBackend returns a backend that sends each body back, after it has read all of it.
func newEchoingBackend(t *testing.T) *backend {
	t.Helper()
	return newUnreadBackend(t, func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			panic(http.ErrAbortHandler)
		}
		for name, values := range r.Trailer {
			w.Header()["Got-"+name] = values
		}
		_, _ = w.Write(body)
	})
}

// piecewise reads a few bytes at a time.
type piecewise struct {
	io.Reader
	most int
}

func (p *piecewise) Read(b []byte) (int, error) { return p.Reader.Read(b[:min(len(b), p.most)]) }

// TestTheResponseMayComeBeforeTheBody: it is returned while the client still sends, and the rest of the body still arrives.
func TestTheResponseMayComeBeforeTheBody(t *testing.T) {
	rest := make(chan string, 1)
	b := newUnreadBackend(t, func(w http.ResponseWriter, r *http.Request) {
		rc := http.NewResponseController(w)
		if err := errors.Join(rc.EnableFullDuplex(), rc.Flush()); err != nil {
			t.Error(err)
		}
		body, _ := io.ReadAll(r.Body)
		rest <- string(body)
	})
	c := b.open(t)
	for _, length := range []int64{-1, 10_000} {
		body, client := io.Pipe()
		a := newAttempt(t, http.MethodPost, "", true)
		a.Body, a.ContentLength = body, length
		resp, err := c.Send(a)
		if err != nil {
			t.Fatal(err)
		}
		want := strings.Repeat("x", 10_000)
		_, _ = io.WriteString(client, want)
		client.Close()
		if got := <-rest; got != want {
			t.Errorf("the endpoint got %d bytes of %d", len(got), len(want))
		}
		resp.Body.Close()
	}
	c.Close()
	eventuallyNoGoroutines(t)
}

func TestTrailersBothWays(t *testing.T) {
	b := newUnreadBackend(t, func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		w.Header().Set("Trailer", "X-Back")
		_, _ = io.WriteString(w, r.Trailer.Get("X-Sum"))
		w.Header().Set("X-Back", "b")
	})
	a := newAttempt(t, http.MethodPut, "hello", false)
	a.Request.Trailer, a.Trailers = http.Header{"X-Sum": nil}, []string{"X-Sum"}
	a.Body = io.NopCloser(io.MultiReader(a.Body, iotest.ErrReader(io.EOF), readerFunc(func([]byte) (int, error) {
		a.Request.Trailer.Set("X-Sum", "7") // when the body was read, as net/http's server does
		return 0, io.EOF
	})))
	resp, err := b.open(t).Send(a)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	got, err := io.ReadAll(resp.Body)
	if err != nil || string(got) != "7" || resp.Trailer.Get("X-Back") != "b" {
		t.Errorf("the trailer of the request is %q, of the response %v, %v", got, resp.Trailer, err)
	}
}

type readerFunc func(p []byte) (int, error)

func (f readerFunc) Read(p []byte) (int, error) { return f(p) }

// TestABodyThatBreaksOffIsNoRequest: the endpoint must not take it for a complete one, and the error is the body's.
func TestABodyThatBreaksOffIsNoRequest(t *testing.T) {
	complete := make(chan string, 10)
	b := newUnreadBackend(t, func(_ http.ResponseWriter, r *http.Request) {
		if body, err := io.ReadAll(r.Body); err == nil {
			complete <- string(body)
		}
	})
	c := b.open(t)
	broken := errors.New("the client has disconnected")
	for _, sent := range []string{"", "some", strings.Repeat("x", 50_000)} {
		for _, length := range []int64{-1, 10, 4096, 100_000} {
			if int64(len(sent)) >= length && length > 0 {
				continue
			}
			a := newAttempt(t, http.MethodPut, "", false)
			a.Body, a.ContentLength = io.NopCloser(io.MultiReader(strings.NewReader(sent), iotest.ErrReader(broken))), length
			resp, err := c.Send(a)
			if err == nil {
				resp.Body.Close()
			}
			if !errors.Is(err, broken) {
				t.Errorf("%d bytes of %d: got %v, want the error of the body", len(sent), length, err)
			}
		}
	}
	a := newAttempt(t, http.MethodPut, "four", false)
	a.ContentLength = 5
	if _, err := c.Send(a); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("a body that is too short: got %v", err)
	}
	c.Close()
	c.Abort()
	b.Close()
	if n := len(complete); n > 0 {
		t.Errorf("%d requests were complete, the first has %q", n, <-complete)
	}
}

// TestTheEndpointIsAskedWhetherItWantsTheBody: what `Expect: 100-continue` is for.
func TestTheEndpointIsAskedWhetherItWantsTheBody(t *testing.T) {
	type handler = func(w http.ResponseWriter, r *http.Request)
	for name, test := range map[string]struct {
		handler
		status  int
		isRead  bool
		isQuick bool
	}{
		"it wants it": {func(w http.ResponseWriter, r *http.Request) { _, _ = io.Copy(w, r.Body) }, http.StatusOK, true, true},
		"it rejects it": {func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Connection", "close")
			w.WriteHeader(http.StatusRequestEntityTooLarge)
		}, http.StatusRequestEntityTooLarge, false, true},
		"it does not know it": {nil, http.StatusNoContent, true, false},
	} {
		t.Run(name, func(t *testing.T) {
			var c *upstreamconn.Conns
			if test.handler != nil {
				c = newUnreadBackend(t, test.handler).open(t)
			} else {
				c = upstreamconn.Open(newRecorder(t).Addr().String()).(*upstreamconn.Conns)
			}
			for _, size := range []int{5, 10_000} {
				a := newAttempt(t, http.MethodPost, "", true)
				read := false
				a.Body, a.ContentLength = io.NopCloser(io.MultiReader(readerFunc(func([]byte) (int, error) {
					read = true
					return 0, io.EOF
				}), strings.NewReader(strings.Repeat("x", size)))), int64(size)
				a.Request.Header.Set("Expect", "100-continue")
				start := time.Now()
				resp, err := c.Send(a)
				if err != nil {
					t.Fatal(err)
				}
				took := time.Since(start)
				_, _ = io.Copy(io.Discard, resp.Body)
				resp.Body.Close()
				if resp.StatusCode != test.status || read != test.isRead || test.isQuick == (took >= 100*time.Millisecond) {
					t.Errorf("%d bytes: status %d, read %t after %v; want %d, %t, within 100 ms: %t", size, resp.StatusCode, read, took, test.status, test.isRead, test.isQuick)
				}
			}
			c.Abort()
			eventuallyNoGoroutines(t)
		})
	}
}

// TestAConnectionThatIsClosedBeforeTheBodyComesIsReplaced: nothing was sent on it, so that the outcome is known, of a POST, too.
func TestAConnectionThatIsClosedBeforeTheBodyComesIsReplaced(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	closed := make(chan bool)
	go func() {
		for i := 0; ; i++ {
			conn, err := ln.Accept()
			if err != nil {
				return
			}
			if i == 0 {
				_ = conn.Close() // it did not wait for the client
				close(closed)
				continue
			}
			req, err := http.ReadRequest(bufio.NewReader(conn))
			if err == nil {
				var body []byte
				body, err = io.ReadAll(req.Body)
				_, _ = fmt.Fprintf(conn, "HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s", len(body), body)
			}
			if err != nil {
				t.Error(err)
			}
		}
	}()
	c := upstreamconn.Open(ln.Addr().String()).(*upstreamconn.Conns)
	a := newAttempt(t, http.MethodPost, "", true)
	body, client := io.Pipe()
	a.Body, a.ContentLength = body, 5
	go func() {
		<-closed
		_, _ = io.WriteString(client, "hello")
	}()
	if got := exchange(t, c, a); got != "hello" {
		t.Errorf("got %q", got)
	}
	c.Close()
	eventuallyNoGoroutines(t)
}

// TestAnEndlessHeadIsMalformed: of one response, or of many.
func TestAnEndlessHeadIsMalformed(t *testing.T) {
	for _, part := range []string{"X: " + strings.Repeat("y", 1000) + "\r\n", "\r\nHTTP/1.1 102 Processing\r\n"} {
		c := openRawEndpoint(t, "HTTP/1.1 103 Early Hints\r\n"+strings.Repeat(part, 11<<20/len(part)))
		resp, err := c.Send(newAttempt(t, http.MethodGet, "", false))
		if err == nil {
			resp.Body.Close()
		}
		if !upstreamconn.IsMalformed(err) {
			t.Errorf("%.20q again and again: got %v", part, err)
		}
	}
}

// TestTheContextEndsAnAttempt while it waits for the response, and while the response is read.
func TestTheContextEndsAnAttempt(t *testing.T) {
	p := newPausingHandler(t)
	b := newUnreadBackend(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/silent" {
			_, _ = io.Copy(io.Discard, r.Body)
			<-r.Context().Done()
			return
		}
		p.ServeHTTP(w, r)
	})
	c := b.open(t)
	for _, body := range []string{"", "short", strings.Repeat("x", 10_000)} {
		ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
		a := newAttempt(t, http.MethodPut, body, false)
		a.Request.URL.Path, a.Context = "/silent", ctx
		if _, err := c.Send(a); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("%d bytes: got %v, want the error of the context", len(body), err)
		}
		cancel()

		ctx, cancel = context.WithCancel(t.Context())
		a = newAttempt(t, http.MethodPut, body, false)
		a.Context = ctx
		resp, err := c.Send(a)
		if err != nil {
			t.Fatal(err)
		}
		<-p.started
		cancel()
		if _, err := io.ReadAll(resp.Body); !errors.Is(err, context.Canceled) {
			t.Errorf("%d bytes: the body of the response ends with %v, want the error of the context", len(body), err)
		}
		resp.Body.Close()
	}
	eventuallyNoGoroutines(t)
	if n := c.Connections(); n != 0 {
		t.Errorf("%d connections are open", n)
	}
}

// TestTimesOfAnAttempt: a reused connection takes no time to connect.
func TestTimesOfAnAttempt(t *testing.T) {
	const thinks = 30 * time.Millisecond
	b := newBackend(t, func(http.ResponseWriter, *http.Request) { time.Sleep(thinks) })
	c := b.open(t)
	for i := range 2 {
		a := newAttempt(t, http.MethodGet, "", false)
		exchange(t, c, a)
		if a.Timing.FirstByte < thinks || (a.Timing.Connect == 0) != (i == 1) {
			t.Errorf("request %d: %+v", i, a.Timing)
		}
	}
	refused := newAttempt(t, http.MethodGet, "", false)
	if _, err := upstreamconn.Open("127.0.0.1:1").(*upstreamconn.Conns).Send(refused); err == nil || refused.Timing.Connect == 0 || refused.Timing.FirstByte != 0 {
		t.Errorf("a refused connect: %v, %+v", err, refused.Timing)
	}
}

// TestInterimResponses: they reach the trace of the request, as many as there are. WebDAV sends 102 for as long as it works.
func TestInterimResponses(t *testing.T) {
	const interim = 50
	b := newBackend(t, func(w http.ResponseWriter, _ *http.Request) {
		for i := range interim {
			w.Header().Set("Link", fmt.Sprint(i))
			w.WriteHeader(http.StatusEarlyHints)
		}
	})
	c := b.open(t)
	a := newAttempt(t, http.MethodGet, "", false)
	got := 0
	a.Context = traced(a.Context, func(code int) error {
		if got++; code != http.StatusEarlyHints {
			t.Errorf("got %d", code)
		}
		return nil
	})
	exchange(t, c, a)
	if got != interim {
		t.Errorf("%d interim responses arrived, want %d", got, interim)
	}
	refused := errors.New("no more of them")
	a = newAttempt(t, http.MethodGet, "", false)
	a.Context = traced(a.Context, func(int) error { return refused })
	if _, err := c.Send(a); !errors.Is(err, refused) {
		t.Errorf("got %v, want the error of the trace", err)
	}
}
