package upstreamconn

import (
	"time"

	"golang.org/x/sys/unix"
)

// A request on a kept connection may cross the endpoint's end of that connection. TCP tells whether it was delivered, if the endpoint has closed
// the connection for both directions, with close(): its FIN acknowledges all that it has read, and to what comes after, its kernel responds with
// a reset. So a request was not delivered if a FIN was counted, no byte of the request was acknowledged, and the connection was reset.
//
// An endpoint that only ends its own direction, with shutdown(), goes on reading: its kernel acknowledges the request. Its outcome is unknown.

// deliveryTimeout is how long the endpoint's kernel may take to respond to a request after the end of the connection. On a network of containers,
// it takes less than a millisecond.
const deliveryTimeout = 200 * time.Millisecond

// tcpState is what the kernel knows of a connection.
type tcpState struct {
	state           uint8
	acked, received uint64 // bytes; a FIN counts as one that was received
}

// The states of a connection (include/net/tcp_states.h).
const (
	tcpEstablished = 1
	tcpClose       = 7
)

// tcpState returns false if the kernel does not say.
func (c *conn) tcpState() (s tcpState, ok bool) {
	if c.raw == nil {
		return s, false
	}
	err := c.raw.Control(func(fd uintptr) {
		info, err := unix.GetsockoptTCPInfo(int(fd), unix.IPPROTO_TCP, unix.TCP_INFO)
		if err == nil {
			s, ok = tcpState{info.State, info.Bytes_acked, info.Bytes_received}, true
		}
	})
	return s, ok && err == nil
}

// hasRefused reports whether what was written since a state of the connection was not delivered, since the endpoint had closed the connection.
func (c *conn) hasRefused(before tcpState) bool {
	for start := time.Now(); ; time.Sleep(time.Millisecond) {
		now, ok := c.tcpState()
		switch {
		case !ok || now.acked != before.acked || now.received > before.received+1:
			return false // it has read something, or responded
		case now.state == tcpClose:
			return now.received == before.received+1
		case time.Since(start) >= deliveryTimeout:
			return false
		}
	}
}

// prepareDelivery notes the state of a reused connection before a request that must not be sent twice. It returns false if the connection must not be used.
func (c *call) prepareDelivery() bool {
	if !c.isReused || c.canRepeat() {
		return true
	}
	var ok bool
	c.before, ok = c.conn.tcpState()
	return ok && c.before.state == tcpEstablished
}

// isRefused reports whether the request was not delivered.
func (c *call) isRefused() bool {
	return c.isReused && c.before.state != 0 && c.conn.hasRefused(c.before)
}
