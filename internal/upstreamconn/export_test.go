package upstreamconn

import (
	"context"
	"net"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// DialWith replaces the dial function, so that connections can live in a synctest bubble.
func (c *Conns) DialWith(dial func() net.Conn) {
	c.connect = func(context.Context, time.Duration) (net.Conn, error) { return dial(), nil }
}

// Connections returns how many connections are open.
func (c *Conns) Connections() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.conns)
}

// SocketOptions are the kernel's settings of a connection.
type SocketOptions struct {
	KeepIdle, KeepInterval, KeepCount int // seconds of silence before the first probe, seconds between probes, and the number of probes
	UserTimeout                       int // ms
}

// SocketOptions returns the settings of an open connection.
func (c *Conns) SocketOptions(t *testing.T) (o SocketOptions) {
	t.Helper()
	c.mu.Lock()
	defer c.mu.Unlock()
	for open := range c.conns {
		raw, err := open.Conn.(*net.TCPConn).SyscallConn()
		if err != nil {
			t.Fatal(err)
		}
		if err := raw.Control(func(fd uintptr) {
			for option, to := range map[int]*int{
				unix.TCP_KEEPIDLE: &o.KeepIdle, unix.TCP_KEEPINTVL: &o.KeepInterval, unix.TCP_KEEPCNT: &o.KeepCount, unix.TCP_USER_TIMEOUT: &o.UserTimeout,
			} {
				*to, _ = unix.GetsockoptInt(int(fd), unix.IPPROTO_TCP, option)
			}
		}); err != nil {
			t.Fatal(err)
		}
		return o
	}
	t.Fatal("no connection is open")
	return o
}
