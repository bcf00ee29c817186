package listeners

import (
	"errors"
	"net"
	"testing"
	"time"
)

func TestMergedListenerAcceptsFromBothSockets(t *testing.T) {
	var sockets [2]net.Listener
	for i := range sockets {
		ln, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		sockets[i] = ln
	}
	m := merge(sockets[0], sockets[1])
	for _, ln := range sockets {
		client, err := net.Dial("tcp", ln.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		defer client.Close()
		conn, err := m.Accept()
		if err != nil {
			t.Fatal(err)
		}
		if got, want := conn.RemoteAddr().String(), client.LocalAddr().String(); got != want {
			t.Errorf("accepted a connection of %s, want %s", got, want)
		}
		_ = conn.Close()
	}
	if m.Addr().String() != sockets[0].Addr().String() {
		t.Errorf("the address is %s, want that of the first socket", m.Addr())
	}
	pending := make(chan error)
	go func() {
		_, err := m.Accept()
		pending <- err
	}()
	if err := m.Close(); err != nil {
		t.Error(err)
	}
	select {
	case err := <-pending:
		if !errors.Is(err, net.ErrClosed) {
			t.Errorf("Accept returned %v, want net.ErrClosed", err)
		}
	case <-time.After(5 * time.Second):
		t.Fatal("Accept did not return")
	}
	if err := m.Close(); !errors.Is(err, net.ErrClosed) {
		t.Errorf("a second Close returned %v", err)
	}
	for _, ln := range sockets {
		if conn, err := net.Dial("tcp", ln.Addr().String()); err == nil {
			_ = conn.Close()
			t.Errorf("%s is still open", ln.Addr())
		}
	}
}
