package keepconn_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/theworklabs/edge/internal/keepconn"
	"github.com/theworklabs/edge/internal/sharedsocket"
)

// fixture is an address at which one server follows the other.
type fixture struct {
	t       *testing.T
	hub     keepconn.Hub
	sockets sharedsocket.Pool
	address string
	server  *http.Server
	started int
	// handle answers the requests of a server; nil: with its number.
	handle func(number int, w http.ResponseWriter, r *http.Request)
}

func newFixture(t *testing.T) *fixture {
	t.Helper()
	f := &fixture{t: t, address: "127.0.0.1:0"}
	f.server = f.start("k")
	t.Cleanup(func() { f.shutdown(f.server) })
	return f
}

// start starts a server whose connections have a key. Its number is how many there were before it, plus one.
func (f *fixture) start(key string) *http.Server {
	f.t.Helper()
	ln, err := f.sockets.Listen(context.Background(), "tcp", "127.0.0.1:0", net.ListenConfig{})
	if err != nil {
		f.t.Fatal(err)
	}
	f.address = ln.Addr().String()
	f.started++
	number := f.started
	server := &http.Server{
		ConnState:   f.hub.SetState,
		IdleTimeout: time.Minute,
		Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if f.handle != nil {
				f.handle(number, w, r)
				return
			}
			body, _ := io.ReadAll(r.Body)
			fmt.Fprintf(w, "server %d got %q", number, body)
		}),
	}
	wrapped := f.hub.Wrap(ln, keepconn.Options{Key: key, IdleTimeout: time.Minute})
	go func() { _ = server.Serve(wrapped) }()
	return server
}

func (f *fixture) shutdown(server *http.Server) {
	f.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	if err := server.Shutdown(ctx); err != nil {
		f.t.Error(err)
	}
}

// startShutdown returns when the shutdown of a server has begun. done is closed at its end.
func (f *fixture) startShutdown(server *http.Server) (done <-chan struct{}) {
	f.t.Helper()
	begun, ended := make(chan struct{}), make(chan struct{})
	server.RegisterOnShutdown(func() { close(begun) })
	go func() {
		f.shutdown(server)
		close(ended)
	}()
	<-begun
	return ended
}

// reload replaces the server by another one.
func (f *fixture) reload() {
	f.t.Helper()
	next := f.start("k")
	f.shutdown(f.server)
	f.server = next
}

// client is one connection.
type client struct {
	t *testing.T
	net.Conn
	reader *bufio.Reader
}

func (f *fixture) dial() *client {
	f.t.Helper()
	conn, err := net.Dial("tcp", f.address)
	if err != nil {
		f.t.Fatal(err)
	}
	f.t.Cleanup(func() { _ = conn.Close() })
	if err := conn.SetDeadline(time.Now().Add(20 * time.Second)); err != nil {
		f.t.Fatal(err)
	}
	return &client{f.t, conn, bufio.NewReader(conn)}
}

func (c *client) send(text string) {
	c.t.Helper()
	if _, err := io.WriteString(c, strings.ReplaceAll(text, "\n", "\r\n")); err != nil {
		c.t.Fatal(err)
	}
}

// expect reads a response.
func (c *client) expect(body string) {
	c.t.Helper()
	resp, err := http.ReadResponse(c.reader, nil)
	if err != nil {
		c.t.Fatalf("want %q, got %v", body, err)
	}
	got, err := io.ReadAll(resp.Body)
	if err != nil || string(got) != body {
		c.t.Errorf("got %q, %v; want %q", got, err, body)
	}
}

const post = "POST / HTTP/1.1\nHost: a\nContent-Length: 5\n\norder"

func TestIdleConnectionsMove(t *testing.T) {
	f := newFixture(t)
	used, unused := f.dial(), f.dial()
	used.send(post)
	used.expect(`server 1 got "order"`)
	for i := range 5 {
		f.reload()
		if i%2 == 1 {
			continue // it waits through two reloads
		}
		used.send(post)
		used.expect(fmt.Sprintf(`server %d got "order"`, i+2))
	}
	unused.send(post)
	unused.expect(`server 6 got "order"`)
}

// TestAPartOfARequestMoves: the head comes in pieces, and the reload in between.
func TestAPartOfARequestMoves(t *testing.T) {
	f := newFixture(t)
	c := f.dial()
	c.send(post)
	c.expect(`server 1 got "order"`)
	request := strings.ReplaceAll(post, "\n", "\r\n")
	for _, at := range []int{1, 3, 4, 10, len(request) - 6, len(request) - 5} {
		if _, err := io.WriteString(c, request[:at]); err != nil {
			t.Fatal(err)
		}
		time.Sleep(20 * time.Millisecond) // the server reads it
		next := f.start("k")
		go f.shutdown(f.server)
		f.server = next
		time.Sleep(20 * time.Millisecond)
		if _, err := io.WriteString(c, request[at:]); err != nil {
			t.Fatal(err)
		}
		resp, err := http.ReadResponse(c.reader, nil)
		if err != nil {
			t.Fatalf("a request in two parts, the first of %d bytes: %v", at, err)
		}
		body, err := io.ReadAll(resp.Body)
		if err != nil || !strings.HasSuffix(string(body), `got "order"`) {
			t.Errorf("a request in two parts, the first of %d bytes: %q, %v", at, body, err)
		}
		if resp.Close { // the old server has begun to handle it
			c = f.dial()
		}
	}
}

// TestAConnectionMovesAfterALongResponse: its head was sent before the shutdown, without Connection: close. So the client may use the
// connection again, and here it does so at the first instant.
func TestAConnectionMovesAfterALongResponse(t *testing.T) {
	f := newFixture(t)
	finish := make(chan struct{})
	f.handle = func(number int, w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/long" {
			w.Header().Set("Content-Length", "4")
			_, _ = io.WriteString(w, "lo")
			_ = http.NewResponseController(w).Flush()
			<-finish
			_, _ = io.WriteString(w, "ng")
			return
		}
		fmt.Fprintf(w, "server %d", number)
	}
	for range 20 {
		c := f.dial()
		c.send("GET /long HTTP/1.1\nHost: a\n\n")
		if _, err := c.reader.Peek(1); err != nil {
			t.Fatal(err)
		}
		old := f.server
		f.server = f.start("k")
		done := f.startShutdown(old)
		finish <- struct{}{}
		c.expect("long")
		c.send("GET / HTTP/1.1\nHost: a\n\n")
		c.expect(fmt.Sprintf("server %d", f.started))
		<-done
	}
}

// TestRequestsUnderWayAreFinished: they are not handled twice.
func TestRequestsUnderWayAreFinished(t *testing.T) {
	f := newFixture(t)
	handled := make(chan int, 10)
	finish := make(chan struct{})
	f.handle = func(number int, w http.ResponseWriter, r *http.Request) {
		handled <- number
		_, _ = io.Copy(io.Discard, r.Body)
		<-finish
	}
	c := f.dial()
	c.send(post)
	if number := <-handled; number != 1 {
		t.Fatalf("server %d handles it", number)
	}
	old := f.server
	f.server = f.start("k")
	done := f.startShutdown(old)
	close(finish)
	c.expect("")
	<-done
	if len(handled) > 0 {
		t.Errorf("server %d has handled it, too", <-handled)
	}
}

func TestWithoutANextServerConnectionsAreClosed(t *testing.T) {
	f := newFixture(t)
	c, waiting := f.dial(), f.dial()
	for _, one := range []*client{c, waiting} {
		one.send(post)
		one.expect(`server 1 got "order"`)
	}
	other := f.start("other key")
	f.shutdown(f.server)
	f.server = other
	for _, one := range []*client{c, waiting} {
		if _, err := one.Read(make([]byte, 1)); err != io.EOF {
			t.Errorf("got %v, want EOF", err)
		}
	}
}

// TestAServerThatFailsToStartLosesNothing: the old one keeps its connections.
func TestAServerThatFailsToStartLosesNothing(t *testing.T) {
	f := newFixture(t)
	c := f.dial()
	c.send(post)
	c.expect(`server 1 got "order"`)
	failed := f.start("k")
	f.shutdown(failed)
	c.send(post)
	c.expect(`server 1 got "order"`)
}

// TestAPipeliningClientIsNotMoved: the server has bytes of the next request, which can't be had back. The client sees the end of the
// connection, as without a hub, and no wrong answer.
func TestAPipeliningClientIsNotMoved(t *testing.T) {
	f := newFixture(t)
	finish := make(chan struct{})
	f.handle = func(number int, w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Length", "4")
		_, _ = io.WriteString(w, "lo")
		_ = http.NewResponseController(w).Flush()
		<-finish
		_, _ = io.WriteString(w, "ng")
	}
	c := f.dial()
	c.send("GET / HTTP/1.1\nHost: a\n\nPOST /next HTTP/1.1\nHost: a\nContent-Length: 30\n\n")
	if _, err := c.reader.Peek(1); err != nil {
		t.Fatal(err)
	}
	next := f.start("k")
	done := f.startShutdown(f.server)
	f.server = next
	finish <- struct{}{}
	c.expect("long")
	<-done
	c.send("GET /smuggled HTTP/1.1\nHost: a\n\n")
	if resp, err := http.ReadResponse(c.reader, nil); err == nil {
		_ = resp.Body.Close()
		t.Errorf("a body is answered as a request: %s", resp.Status)
	}
}
