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

// KeepAlive returns the kernel's keep-alive settings of an open connection: seconds of silence before the first probe, seconds
// between probes, and the number of probes.
func (c *Conns) KeepAlive(t *testing.T) (idle, interval, count int) {
	t.Helper()
	c.mu.Lock()
	defer c.mu.Unlock()
	for open := range c.conns {
		raw, err := open.Conn.(*net.TCPConn).SyscallConn()
		if err != nil {
			t.Fatal(err)
		}
		if err := raw.Control(func(fd uintptr) {
			for option, to := range map[int]*int{unix.TCP_KEEPIDLE: &idle, unix.TCP_KEEPINTVL: &interval, unix.TCP_KEEPCNT: &count} {
				*to, _ = unix.GetsockoptInt(int(fd), unix.IPPROTO_TCP, option)
			}
		}); err != nil {
			t.Fatal(err)
		}
		return idle, interval, count
	}
	t.Fatal("no connection is open")
	return 0, 0, 0
}
