package upstreamconn

import (
	"net"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// The host of an endpoint may go without a word: its power fails, or its network does. On a connection that waits for a response, the kernel
// finds that out with keep-alive probes; they are not sent while the peer has not acknowledged what was sent before. That is limited by
// TCP_USER_TIMEOUT. The kernel of a paused or busy container still acknowledges both.
//
// The same timeout would end an upload to an endpoint that reads nothing for a while: the kernel counts the time in which the endpoint's window
// is closed, too, although the endpoint acknowledges each probe. So it is off for a body of any length, and the edge itself looks for an endpoint
// that acknowledges nothing.

// silenceTimeout is for how long an endpoint's kernel may acknowledge nothing. A request is answered by another endpoint within five seconds then.
const silenceTimeout = 4 * time.Second

// keepAlive finds a peer that is gone within silenceTimeout: after probes at two and three seconds of silence, the kernel gives up.
var keepAlive = net.KeepAliveConfig{Enable: true, Idle: 2 * time.Second, Interval: time.Second, Count: 3}

// tunnelKeepAlive is the same for tunnels, of which tens of thousands may be idle: each probe costs both kernels some microseconds.
var tunnelKeepAlive = net.KeepAliveConfig{Enable: true, Idle: 5 * time.Second, Interval: 2 * time.Second, Count: 3}

// setSilenceTimeout limits how long what was sent may stay unacknowledged; 0 is the kernel's limit, about 15 minutes. A socket without the option
// keeps that.
func setSilenceTimeout(raw syscall.RawConn, timeout time.Duration) {
	_ = raw.Control(func(fd uintptr) {
		_ = unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT, int(timeout.Milliseconds()))
	})
}

// permitPauses lets the endpoint stop reading for as long as it likes.
func (c *conn) permitPauses() {
	if c.raw != nil && !c.mayPause {
		c.mayPause = true
		setSilenceTimeout(c.raw, 0)
	}
}

// forbidPauses undoes permitPauses.
func (c *conn) forbidPauses() {
	if c.mayPause {
		c.mayPause = false
		setSilenceTimeout(c.raw, silenceTimeout)
	}
}

// prepareTunnel sets up the connection for what is no HTTP any more.
func (c *conn) prepareTunnel() {
	c.permitPauses()
	if tcp, ok := c.Conn.(*net.TCPConn); ok {
		_ = tcp.SetKeepAliveConfig(tunnelKeepAlive) // otherwise the probes of a request stay
	}
}

// isSilent reports whether the endpoint's kernel has acknowledged nothing for silenceTimeout, although it had to. While its window is closed,
// nothing waits for an acknowledgment except the kernel's probes.
func (c *conn) isSilent() bool {
	isSilent := false
	_ = c.raw.Control(func(fd uintptr) {
		info, err := unix.GetsockoptTCPInfo(int(fd), unix.IPPROTO_TCP, unix.TCP_INFO)
		isSilent = err == nil && time.Duration(info.Last_ack_recv)*time.Millisecond >= silenceTimeout &&
			(info.Retransmits > 0 || info.Probes >= uint8(keepAlive.Count))
	})
	return isSilent
}

// watchSilence ends the call if the endpoint is silent, while a body is sent.
func (c *call) watchSilence() {
	if c.conn.raw == nil {
		return
	}
	c.conn.permitPauses()
	c.silence = time.AfterFunc(time.Hour, c.checkSilence)
	c.silence.Reset(time.Second) // not before checkSilence can see the timer
}

func (c *call) checkSilence() {
	switch {
	case c.isDone.Load():
	case c.conn.isSilent():
		_ = c.conn.SetDeadline(time.Unix(1, 0)) // reading and writing fail with a timeout
	default:
		c.silence.Reset(time.Second)
	}
}

// endSilenceWatch ends what watchSilence began.
func (c *call) endSilenceWatch() {
	if c.silence != nil {
		c.silence.Stop()
	}
}
