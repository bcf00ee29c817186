package upstreamconn

import (
	"context"
	"net"
	"testing"

	"golang.org/x/sys/unix"
)

// DialWith replaces how the link connects, for connections that know the test's time.
func (l *Conns) DialWith(dial func() net.Conn) {
	l.pooledTransport.DialContext = func(context.Context, string, string) (net.Conn, error) { return dial(), nil }
	l.singleUseTransport.DialContext = l.pooledTransport.DialContext
}

// Connections returns how many connections are open.
func (l *Conns) Connections() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.conns)
}

// KeepAlive returns how the kernel looks after an open connection: seconds of silence, seconds between probes, and probes.
func (l *Conns) KeepAlive(t *testing.T) (idle, interval, count int) {
	t.Helper()
	l.mu.Lock()
	defer l.mu.Unlock()
	for c := range l.conns {
		raw, err := c.Conn.(*net.TCPConn).SyscallConn()
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
