package sharedsocket_test

import (
	"context"
	"errors"
	"net"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/theworklabs/edge/internal/sharedsocket"
)

func listen(t *testing.T, pool *sharedsocket.Pool, address string) net.Listener {
	t.Helper()
	ln, err := pool.Listen(t.Context(), "tcp", address, net.ListenConfig{})
	if err != nil {
		t.Fatal(err)
	}
	return ln
}

// acceptInto sends the connections of a listener to a channel, and closes done when the listener is closed.
func acceptInto(ln net.Listener, conns chan<- net.Conn) (done chan struct{}) {
	done = make(chan struct{})
	go func() {
		defer close(done)
		for {
			conn, err := ln.Accept()
			if err != nil {
				return
			}
			conns <- conn
		}
	}()
	return done
}

func TestConnectionsGoToTheOldestListener(t *testing.T) {
	var pool sharedsocket.Pool
	first := listen(t, &pool, "127.0.0.1:0")
	address := first.Addr().String()
	second := listen(t, &pool, "127.0.0.1:0") // the same key
	if second.Addr().String() != address {
		t.Fatalf("the second listener has a socket of its own, %s", second.Addr())
	}
	old, next := make(chan net.Conn), make(chan net.Conn)
	acceptInto(first, old)
	acceptInto(second, next)
	expect := func(conns chan net.Conn, what string) {
		t.Helper()
		client, err := net.Dial("tcp", address)
		if err != nil {
			t.Fatal(err)
		}
		defer client.Close()
		select {
		case conn := <-conns:
			_ = conn.Close()
		case <-time.After(10 * time.Second):
			t.Fatalf("%s does not get the connection", what)
		}
	}
	expect(old, "the first listener")
	if err := first.Close(); err != nil {
		t.Error(err)
	}
	if err := first.Close(); !errors.Is(err, net.ErrClosed) {
		t.Errorf("closed twice: %v", err)
	}
	if _, err := first.Accept(); !errors.Is(err, net.ErrClosed) {
		t.Errorf("Accept after Close: %v", err)
	}
	expect(next, "the second listener")
	if err := second.Close(); err != nil {
		t.Error(err)
	}
	if conn, err := net.Dial("tcp", address); err == nil {
		_ = conn.Close()
		t.Error("the socket is open after the last listener was closed")
	}
	third := listen(t, &pool, address) // another socket
	if err := third.Close(); err != nil {
		t.Error(err)
	}
}

func TestAnAddressInUseIsAnError(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	var pool sharedsocket.Pool
	if _, err := pool.Listen(t.Context(), "tcp", taken.Addr().String(), net.ListenConfig{}); err == nil {
		t.Error("got no error")
	}
}

// TestNoConnectionIsLostWhileListenersTakeTurns dials all the time while one listener follows the other.
func TestNoConnectionIsLostWhileListenersTakeTurns(t *testing.T) {
	var pool sharedsocket.Pool
	current := listen(t, &pool, "127.0.0.1:0")
	address := current.Addr().String()
	conns := make(chan net.Conn)
	go func() {
		for conn := range conns {
			_, _ = conn.Write([]byte("x"))
			_ = conn.Close()
		}
	}()
	done := []chan struct{}{acceptInto(current, conns)}
	ctx, cancel := context.WithCancel(t.Context())
	var clients sync.WaitGroup
	for range 4 {
		clients.Go(func() {
			for ctx.Err() == nil {
				conn, err := net.Dial("tcp", address)
				if err != nil {
					t.Errorf("dial: %v", err)
					return
				}
				if _, err := conn.Read(make([]byte, 1)); err != nil {
					t.Errorf("a connection is lost: %v", err)
				}
				_ = conn.Close()
			}
		})
	}
	for range 100 {
		next := listen(t, &pool, "127.0.0.1:0")
		done = append(done, acceptInto(next, conns))
		if err := current.Close(); err != nil {
			t.Error(err)
		}
		current = next
		time.Sleep(time.Millisecond)
	}
	cancel()
	clients.Wait()
	if err := current.Close(); err != nil {
		t.Error(err)
	}
	for _, d := range done {
		<-d
	}
	close(conns)
}

// TestEachListenerHasItsOwnKeepAlive: the next configuration may have other settings of TCP keep-alive.
func TestEachListenerHasItsOwnKeepAlive(t *testing.T) {
	var pool sharedsocket.Pool
	seconds := func(n int) net.ListenConfig {
		return net.ListenConfig{KeepAliveConfig: net.KeepAliveConfig{Enable: true, Interval: time.Duration(n) * time.Second}}
	}
	current := listen(t, &pool, "127.0.0.1:0")
	for _, c := range []struct {
		config   net.ListenConfig
		enabled  int
		interval int
	}{
		{seconds(7), 1, 7},
		{seconds(11), 1, 11},
		{net.ListenConfig{}, 1, 15},
		{net.ListenConfig{KeepAlive: -1}, 0, 0},
	} {
		next, err := pool.Listen(t.Context(), "tcp", "127.0.0.1:0", c.config)
		if err != nil {
			t.Fatal(err)
		}
		if err := current.Close(); err != nil {
			t.Error(err)
		}
		current = next
		client, err := net.Dial("tcp", next.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		conn, err := next.Accept()
		if err != nil {
			t.Fatal(err)
		}
		if got := socketOption(t, conn, unix.SOL_SOCKET, unix.SO_KEEPALIVE); got != c.enabled {
			t.Errorf("%+v: SO_KEEPALIVE is %d, want %d", c.config, got, c.enabled)
		}
		if got := socketOption(t, conn, unix.IPPROTO_TCP, unix.TCP_KEEPINTVL); c.enabled == 1 && got != c.interval {
			t.Errorf("%+v: TCP_KEEPINTVL is %d s, want %d s", c.config, got, c.interval)
		}
		_, _ = conn.Close(), client.Close()
	}
	if err := current.Close(); err != nil {
		t.Error(err)
	}
}

func socketOption(t *testing.T, conn net.Conn, level, option int) (value int) {
	t.Helper()
	raw, err := conn.(syscall.Conn).SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	var optionErr error
	if err := raw.Control(func(fd uintptr) { value, optionErr = unix.GetsockoptInt(int(fd), level, option) }); err != nil {
		t.Fatal(err)
	}
	if optionErr != nil {
		t.Fatal(optionErr)
	}
	return value
}

// TestErrorsOfAcceptAreReported, such as that there are no descriptors; the socket goes on accepting.
func TestErrorsOfAcceptAreReported(t *testing.T) {
	reported := make(chan error, 1)
	broken := &brokenListener{errs: make(chan error, 1)}
	pool := sharedsocket.Pool{
		Open: func(ctx context.Context, network, address string, config net.ListenConfig) (_ net.Listener, err error) {
			broken.Listener, err = config.Listen(ctx, network, address)
			return broken, err
		},
		OnError: func(err error) { reported <- err },
	}
	ln := listen(t, &pool, "127.0.0.1:0")
	defer ln.Close()
	for _, exhausted := range []syscall.Errno{syscall.EMFILE, syscall.ENFILE, syscall.ENOBUFS, syscall.ENOMEM} {
		broken.errs <- exhausted
		client, err := net.Dial("tcp", ln.Addr().String()) // ends the Accept that waits
		if err != nil {
			t.Fatal(err)
		}
		defer client.Close()
		for range 2 {
			conn, err := ln.Accept()
			if err == nil {
				conn.Close()
				continue
			}
			temporary, ok := err.(interface{ Temporary() bool })
			if !errors.Is(err, exhausted) || !ok || !temporary.Temporary() { // else package net/http ends its server
				t.Fatalf("Accept returned %v", err)
			}
		}
		if err := <-reported; !errors.Is(err, exhausted) {
			t.Errorf("reported %v", err)
		}
	}
	client, err := net.Dial("tcp", ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	conn, err := ln.Accept()
	if err != nil {
		t.Fatal(err)
	}
	conn.Close()
}

// brokenListener fails to accept once for each error.
type brokenListener struct {
	net.Listener
	errs chan error
}

// Accept implements [net.Listener].
func (l *brokenListener) Accept() (net.Conn, error) {
	select {
	case err := <-l.errs:
		return nil, &net.OpError{Op: "accept", Net: "tcp", Err: err}
	default:
		return l.Listener.Accept()
	}
}
