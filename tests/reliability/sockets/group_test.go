package sockets

import (
	"context"
	"crypto/tls"
	"net/http"
	"net/http/httptest"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/coder/websocket"

	"github.com/theworklabs/edge/tests/harness"
)

// backend accepts WebSockets and calls serve for each of them.
type backend struct {
	*httptest.Server
	handlers sync.WaitGroup
}

func newBackend(t *testing.T, start func(*httptest.Server), serve func(n int, c *websocket.Conn)) *backend {
	t.Helper()
	harness.CheckNoLeaks(t)
	b := &backend{}
	var n atomic.Int32
	b.Server = httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c, err := websocket.Accept(w, r, nil)
		if err != nil {
			return
		}
		b.handlers.Add(1)
		defer b.handlers.Done()
		defer c.CloseNow()
		serve(int(n.Add(1))-1, c)
	}))
	start(b.Server)
	t.Cleanup(func() {
		b.handlers.Wait()
		b.Close()
	})
	return b
}

func (b *backend) target() Target { return Target{Address: b.Listener.Addr().String(), Host: "api"} }

// echo sends messages back until the client leaves.
func echo(c *websocket.Conn) {
	ctx := context.Background()
	for {
		kind, text, err := c.Read(ctx)
		if err != nil || c.Write(ctx, kind, text) != nil {
			return
		}
	}
}

func openFour(t *testing.T, target Target) *Group {
	t.Helper()
	c, err := Open(t.Context(), target, 4)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

func TestSocketsThatEchoAreAlive(t *testing.T) {
	b := newBackend(t, (*httptest.Server).Start, func(_ int, c *websocket.Conn) { echo(c) })
	c := openFour(t, b.target())
	for range 2 {
		if got := c.Count(time.Now(), time.Second); got.Alive != 4 || got.Lost() != 0 || c.Alive() != 4 {
			t.Errorf("%+v, want 4 alive", got)
		}
	}
}

func TestSocketsOverTLS(t *testing.T) {
	b := newBackend(t, (*httptest.Server).StartTLS, func(_ int, c *websocket.Conn) { echo(c) })
	target := b.target()
	target.TLS = &tls.Config{InsecureSkipVerify: true}
	if got := openFour(t, target).Count(time.Now(), time.Second); got.Alive != 4 {
		t.Errorf("%+v, want 4 alive", got)
	}
}

func TestSocketsRememberHowTheyEnded(t *testing.T) {
	began := time.Now()
	silence := make(chan struct{})
	b := newBackend(t, (*httptest.Server).Start, func(n int, c *websocket.Conn) {
		switch n {
		case 0:
			_ = c.Close(websocket.StatusGoingAway, "the server stops")
		case 1: // close the connection without a close frame
		case 2:
			<-silence
		default:
			echo(c)
		}
	})
	c := openFour(t, b.target())
	defer close(silence)
	harness.EventuallyWithin(t, 5*time.Second, "two sockets are alive", func() bool { return c.Alive() == 2 })
	got := c.Count(began, 300*time.Millisecond)
	if got.Alive != 1 || got.Codes[1001] != 1 || got.Codes[CodeNone] != 1 || got.Codes[CodeSilent] != 1 {
		t.Errorf("%+v, want one socket each that is alive, closed with 1001, ended without a close frame, and silent", got)
	}
	if len(got.EndedAfter) != 2 || got.EndedAfter[0] < 0 || got.EndedAfter[0] > time.Since(began) {
		t.Errorf("the sockets ended at %v, want two times after the beginning", got.EndedAfter)
	}
}

func TestAPingIsAnswered(t *testing.T) {
	answered := make(chan error, 4)
	b := newBackend(t, (*httptest.Server).Start, func(_ int, c *websocket.Conn) {
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		reading := c.CloseRead(ctx)
		answered <- c.Ping(ctx)
		<-reading.Done()
	})
	openFour(t, b.target())
	for range 4 {
		if err := <-answered; err != nil {
			t.Error(err)
		}
	}
}

func TestOpenFailsWithoutSwitchingProtocols(t *testing.T) {
	server := httptest.NewServer(http.NotFoundHandler())
	defer server.Close()
	if _, err := Open(t.Context(), Target{Address: server.Listener.Addr().String(), Host: "api"}, 3); err == nil {
		t.Error("no error although the server answers 404")
	}
	server.Close()
	if _, err := Open(t.Context(), Target{Address: server.Listener.Addr().String(), Host: "api"}, 3); err == nil {
		t.Error("no error although nothing listens")
	}
}
