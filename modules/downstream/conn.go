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

// Conn is the TCP connection that a client's requests come on. A nil Conn is one of which nothing is known, such as QUIC's; its
// methods do nothing.
type Conn struct {
	tcp           *net.TCPConn
	lingerFile    atomic.Pointer[os.File] // a duplicate of the socket that outlives net/http's
	hasUnreadBody atomic.Bool             // what follows on it is the rest of a body that was not read
}

type connKey struct{}

// conns are the tracked connections that are open, by net/http's view of them.
var conns sync.Map

// Track has the connections of the server that is being provisioned known to [ConnOf]. To be called from a handler's Provision;
// it may be called for each of them.
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

// ConnOf returns the connection that an HTTP/1.x request came on; nil for others, which share theirs.
func ConnOf(r *http.Request) *Conn {
	if r.ProtoMajor != 1 {
		return nil
	}
	c, _ := r.Context().Value(connKey{}).(*Conn)
	return c
}

// tcpOf returns the TCP connection below those that TLS and listener wrappers make of it, or nil.
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

// embeddedConn returns the connection that a wrapper embeds, or nil. Caddy's own for listeners without HTTP/2, or without
// HTTP/1.1, is not exported, and has no method that returns it.
func embeddedConn(conn net.Conn) net.Conn {
	v := reflect.ValueOf(conn)
	if v.Kind() != reflect.Pointer || v.Elem().Kind() != reflect.Struct {
		return nil
	}
	field := v.Elem().FieldByName("Conn")
	if !field.IsValid() || !field.CanInterface() {
		return nil
	}
	inner, _ := field.Interface().(net.Conn)
	return inner
}

// States of a TCP connection in which the other side has closed its end (Linux, include/net/tcp_states.h).
const (
	tcpClose     = 7
	tcpCloseWait = 8
	tcpLastAck   = 9
)

// IsClosedByClient reports whether the client has closed its end of the connection, or the connection is broken. net/http notices that
// only while it reads, which it doesn't between the head of a request and its body. As in net/http, a client that closes its
// sending end alone counts as gone.
func (c *Conn) IsClosedByClient() bool {
	if c == nil {
		return false
	}
	raw, err := c.tcp.SyscallConn()
	if err != nil {
		return true // closed
	}
	gone := false
	err = raw.Control(func(fd uintptr) {
		info, err := unix.GetsockoptTCPInfo(int(fd), unix.IPPROTO_TCP, unix.TCP_INFO)
		gone = err == nil && (info.State == tcpClose || info.State == tcpCloseWait || info.State == tcpLastAck)
	})
	return err != nil || gone
}

// CloseWrite sends nothing more to a client that has left: a status that is only meant for the log must not reach one that closed
// its sending end alone.
func (c *Conn) CloseWrite() {
	if c != nil {
		_ = c.tcp.CloseWrite()
	}
}

const (
	// lingerIdleTimeout is for how long a client that has been answered early may pause in what it still sends.
	lingerIdleTimeout = 5 * time.Second
	// maxLingerTime is for how long it may go on at all.
	maxLingerTime = 30 * time.Second
)

// Linger has the connection read on for a while after the server has closed it. A client that still sends its body would be
// sent a reset otherwise, by which it may lose the answer (RFC 9112 section 9.6). It is to be called before the answer.
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
		return // no descriptor to spare: the answer may be lost
	}
	if !c.lingerFile.CompareAndSwap(nil, file) {
		_ = file.Close() // it is only a duplicate
	}
}

// HasUnreadBody reports whether what comes on the connection is no request any more. net/http closes such a one after the answer, unless
// a handler takes the header Connection away that says so.
func (c *Conn) HasUnreadBody() bool { return c != nil && c.hasUnreadBody.Load() }

// onClose lingers if that was asked for.
func (c *Conn) onClose() {
	file := c.lingerFile.Swap(nil)
	if file == nil {
		return
	}
	go func() {
		conn, err := net.FileConn(file)
		_ = file.Close() // conn has a duplicate of its own
		if err != nil {
			return
		}
		defer conn.Close()
		_ = conn.(*net.TCPConn).CloseWrite()
		discard(conn)
	}()
}

// discard reads until the client closes, pauses for too long, or takes too long.
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
