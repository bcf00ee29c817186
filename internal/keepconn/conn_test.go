package keepconn

import (
	"io"
	"net"
	"net/http"
	"testing"
)

// TestBytesThatTheServerHasNotReadMoveToo: the connection has moved once already, and the next server has read a part of what came with it.
func TestBytesThatTheServerHasNotReadMoveToo(t *testing.T) {
	var hub Hub
	wrap := func() *Listener {
		inner, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		l := hub.Wrap(inner, Options{Key: "k"})
		t.Cleanup(func() { _ = l.Close() })
		return l
	}
	const request = "GET / HTTP/1.1\r\nHost: a\r\n\r\n"
	first, next := wrap(), wrap()
	client, server := net.Pipe()
	defer client.Close()
	c := newConn(first, server, []byte(request))
	hub.SetState(c, http.StateNew)
	if n, err := c.Read(make([]byte, 14)); n != 14 || err != nil {
		t.Fatal(n, err)
	}
	if err := first.Close(); err != nil {
		t.Fatal(err)
	}
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	hub.SetState(c, http.StateClosed)
	moved, err := next.Accept()
	if err != nil {
		t.Fatal(err)
	}
	got := make([]byte, len(request))
	if _, err := io.ReadFull(moved, got); err != nil || string(got) != request {
		t.Errorf("got %q, %v", got, err)
	}
	for name, use := range map[string]func() error{
		"Read":            func() error { _, err := c.Read(got); return err },
		"Write":           func() error { _, err := c.Write(got); return err },
		"ReadFrom":        func() error { _, err := c.(io.ReaderFrom).ReadFrom(nil); return err },
		"CloseWrite":      c.(interface{ CloseWrite() error }).CloseWrite,
		"SetReadDeadline": func() error { return c.SetReadDeadline(past) },
	} {
		if use() == nil {
			t.Errorf("%s works on a connection that is another server's", name)
		}
	}
}

func TestBytesLeftOfARequest(t *testing.T) {
	for text, want := range map[string]int64{
		"GET / HTTP/1.1\r\nHost: a\r\n\r\n":                           0,
		"GET / HTTP/1.1\r\nHost: a\r\n\r\nGET /":                      -5,
		"POST / HTTP/1.1\r\nHost: a\r\ncontent-length:5\r\n\r\norder": 0,
		"POST / HTTP/1.1\r\nContent-Length: 5\r\n\r\nor":              3,
		"POST / HTTP/1.1\r\nContent-Length: 5\r\n\r\norderPOST":       -4,
		"POST / HTTP/1.1\r\nContent-Length: many\r\n\r\n":             unknownLength,
		"POST / HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\n":       unknownLength,
		"GET / HTTP/1.1\nHost: a\n\n":                                 unknownLength,
	} {
		if got := bytesLeft([]byte(text)); got != want {
			t.Errorf("%q: got %d, want %d", text, got, want)
		}
	}
}

// TestHTTP2IsNotKept: a client can open HTTP/2 without TLS, whose bytes never end with a response.
func TestHTTP2IsNotKept(t *testing.T) {
	for name, bytes := range map[string][]byte{"the preface of HTTP/2": []byte("PRI * HTTP/2.0"), "a long head": make([]byte, maxHead+1)} {
		c := newConn(&Listener{hub: new(Hub)}, nil, nil).(*conn)
		c.setState(http.StateNew)
		c.record(bytes, 4096)
		c.record(make([]byte, 4096), 4096)
		if !c.unmovable || len(c.head) > 0 {
			t.Errorf("%s: unmovable: %t, and %d bytes are kept", name, c.unmovable, len(c.head))
		}
	}
}
