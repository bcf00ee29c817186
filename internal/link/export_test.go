package link

import (
	"context"
	"net"
)

// DialWith replaces how the link connects, for connections that know the test's time.
func (l *Link) DialWith(dial func() net.Conn) {
	l.pooled.DialContext = func(context.Context, string, string) (net.Conn, error) { return dial(), nil }
	l.fresh.DialContext = l.pooled.DialContext
}

// Connections returns how many connections are open.
func (l *Link) Connections() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.conns)
}
