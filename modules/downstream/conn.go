package downstream

import (
	"context"
	"net"
	"net/http"
	"os"
	"reflect"
	"sync"
	"sync/atomic"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"golang.org/x/sys/unix"
)

// Conn is the TCP connection of a client. A nil Conn is an unknown connection, such as one of QUIC; its methods do nothing. It is
// safe for concurrent use.
type Conn struct {
	tcp           *net.TCPConn
	lingerFile    atomic.Pointer[os.File] // a duplicate of the socket, which stays open after net/http closes its own
	hasUnreadBody atomic.Bool             // the next bytes are the rest of a body that was not read
}

type connKey struct{}

// conns are the open tracked connections, by the net.Conn that net/http uses.
var conns sync.Map

// Track makes [ConnOf] know the connections of the server that is being provisioned. Call it from the Provision method of a
// handler; several handlers of a server may call it.
func Track(ctx caddy.Context) {
	server, ok := ctx.Value(caddyhttp.ServerCtxKey).(*caddyhttp.Server)
	if !ok {
		return // the handler is not part of a server
	}
	server.RegisterConnContext(func(ctx context.Context, conn net.Conn) context.Context {
		tcp := tcpOf(conn)
		if tcp == nil || ctx.Value(connKey{}) != nil {
			return ctx
		}
		c := &Conn{tcp: tcp}
		conns.Store(conn, c)
		return context.WithValue(ctx, connKey{}, c)
	})
	server.RegisterConnState(func(conn net.Conn, state http.ConnState) {
		if state == http.StateClosed || state == http.StateHijacked {
			if c, ok := conns.LoadAndDelete(conn); ok {
				c.(*Conn).onClose()
			}
		}
	})
}

// ConnOf returns the connection of an HTTP/1.x request; nil for other versions, whose requests share connections.
func ConnOf(r *http.Request) *Conn {
	if r.ProtoMajor != 1 {
		return nil
	}
	c, _ := r.Context().Value(connKey{}).(*Conn)
	return c
}

// tcpOf returns the TCP connection inside the wrappers of TLS and of listeners, or nil.
func tcpOf(conn net.Conn) *net.TCPConn {
	for range 8 {
		switch c := conn.(type) {
		case *net.TCPConn:
			return c
		case interface{ NetConn() net.Conn }: // tls.Conn
			conn = c.NetConn()
		case interface{ Raw() net.Conn }: // the PROXY protocol's
			conn = c.Raw()
		default:
			conn = embeddedConn(conn)
		}
	}
	return nil
}

// Unwrap returns the connection inside Caddy's own wrappers, which hide what it can do: CloseWrite, NetConn.
func Unwrap(conn net.Conn) net.Conn {
	for range 4 {
		switch conn.(type) {
		case *net.TCPConn, interface{ NetConn() net.Conn }, interface{ Raw() net.Conn }:
			return conn
		}
		inner := embeddedConn(conn)
		if inner == nil {
			return conn
		}
		conn = inner
	}
	return conn
}

// embeddedConn returns the connection that a wrapper embeds, or nil. Caddy's wrappers for listeners without HTTP/2, or without
// HTTP/1.1, and for those of listener wrappers, are not exported, and have no method that returns the connection.
func embeddedConn(conn net.Conn) net.Conn {
	v := reflect.ValueOf(conn)
	if v.Kind() == reflect.Pointer {
		v = v.Elem()
	}
	if v.Kind() != reflect.Struct {
		return nil
	}
	field := v.FieldByName("Conn")
	if !field.IsValid() || !field.CanInterface() {
		return nil
	}
	inner, _ := field.Interface().(net.Conn)
	return inner
}

// States of a TCP connection that the peer has closed, or that is broken (Linux, include/net/tcp_states.h).
const (
	tcpClose     = 7
	tcpCloseWait = 8
	tcpLastAck   = 9
)

// IsClosedByClient reports whether the client has closed the connection, or the connection is broken. net/http detects that only
// while it reads, which it does not do between the head of a request and its body. As in net/http, a client that closes only its
// sending direction counts as disconnected.
func (c *Conn) IsClosedByClient() bool {
	if c == nil {
		return false
	}
	raw, err := c.tcp.SyscallConn()
	if err != nil {
		return true // the edge has closed it
	}
	isClosed := false
	err = raw.Control(func(fd uintptr) {
		info, err := unix.GetsockoptTCPInfo(int(fd), unix.IPPROTO_TCP, unix.TCP_INFO)
		isClosed = err == nil && (info.State == tcpClose || info.State == tcpCloseWait || info.State == tcpLastAck)
	})
	return err != nil || isClosed
}

// watchInterval is the time between two checks for a disconnect.
const watchInterval = 250 * time.Millisecond

// Watch returns a context that ends when the client of a request disconnects, for a request that waits and whose body is not
// being read. The request's own context ends only while net/http reads the body. Call stop when the wait is over.
func Watch(r *http.Request) (ctx context.Context, stop func()) {
	conn := ConnOf(r)
	if conn == nil || r.Body == nil || r.Body == http.NoBody {
		return r.Context(), func() {}
	}
	ctx, cancel := context.WithCancel(r.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		ticker := time.NewTicker(watchInterval)
		defer ticker.Stop()
		for {
			if conn.IsClosedByClient() {
				cancel()
			}
			select {
			case <-ctx.Done():
				return
			case <-ticker.C:
			}
		}
	}()
	return ctx, func() {
		cancel()
		<-done
	}
}

// CloseWrite closes the direction to a client that counts as disconnected. A status that is only for the log must not reach a
// client that has closed only its sending direction.
func (c *Conn) CloseWrite() {
	if c != nil {
		_ = c.tcp.CloseWrite()
	}
}

const (
	// lingerIdleTimeout is how long a client may pause while it sends the rest of a body after an early response.
	lingerIdleTimeout = 5 * time.Second
	// maxLingerTime is how long it may send at all.
	maxLingerTime = 30 * time.Second
)

// Linger makes the edge read from the connection for a while after the server has closed it. Otherwise a client that still sends
// its body would get a reset, and might lose the response (RFC 9112 section 9.6). Call it before the response.
func (c *Conn) Linger() {
	if c == nil {
		return
	}
	c.hasUnreadBody.Store(true)
	if c.lingerFile.Load() != nil {
		return
	}
	file, err := c.tcp.File()
	if err != nil {
		return // no descriptor is left: the response may be lost
	}
	if !c.lingerFile.CompareAndSwap(nil, file) {
		_ = file.Close() // another duplicate is stored already
	}
}

// HasUnreadBody reports whether the next bytes on the connection are not a request. net/http closes such a connection after the
// response, unless a handler removes the header `Connection: close`.
func (c *Conn) HasUnreadBody() bool { return c != nil && c.hasUnreadBody.Load() }

// onClose lingers if Linger was called.
func (c *Conn) onClose() {
	file := c.lingerFile.Swap(nil)
	if file == nil {
		return
	}
	go func() {
		conn, err := net.FileConn(file)
		_ = file.Close() // conn has its own duplicate
		if err != nil {
			return
		}
		defer conn.Close()
		_ = conn.(*net.TCPConn).CloseWrite()
		discard(conn)
	}()
}

// discard reads until the client closes the connection, pauses for too long, or sends for too long.
func discard(conn net.Conn) {
	buf := make([]byte, 4<<10)
	for end := time.Now().Add(maxLingerTime); time.Now().Before(end); {
		idle := time.Now().Add(lingerIdleTimeout)
		if idle.After(end) {
			idle = end
		}
		if conn.SetReadDeadline(idle) != nil {
			return
		}
		if _, err := conn.Read(buf); err != nil {
			return
		}
	}
}
