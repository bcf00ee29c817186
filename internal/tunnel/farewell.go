package tunnel

import (
	"encoding/binary"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"time"
)

// depart has the destination know that the edge ends the tunnel. It returns errAsked, or a *writeError.
func (d *direction) depart() error {
	whole, err := d.finishFrame()
	if err == nil {
		err = d.farewell(whole)
	}
	if err == nil {
		err = errAsked
	}
	return err
}

// finishFrame passes on the rest of a frame that has begun, and drops what came behind it. It reports whether the
// destination has got whole frames.
func (d *direction) finishFrame() (whole bool, failed error) {
	d.term.forFrame()
	whole = d.frames.atEnd()
	for !whole && !d.frames.lost {
		p, err := d.source.read()
		if end := d.frames.follow(p); end > 0 {
			p, whole = p[:end], true
		}
		if len(p) > 0 {
			failed = d.pass(p)
		}
		d.source.release()
		if failed != nil || err != nil {
			break
		}
	}
	return whole, failed
}

// farewell is the last that is said to the destination: a close frame where there can be one and none has passed, or
// else the end of the stream.
func (d *direction) farewell(whole bool) error {
	if !whole || d.frames.closed {
		d.halfClose()
		return nil
	}
	d.term.forReply()
	if _, err := d.dst.Write(goingAway(d.dst.who == Endpoint)); err != nil {
		d.dst.fail()
		return &writeError{err}
	}
	return nil
}

// goingAway returns a close frame with code 1001 (RFC 6455 section 7.4.1): unmasked for a client, masked for a server.
func goingAway(masked bool) []byte {
	const code = 1001
	if !masked {
		return binary.BigEndian.AppendUint16([]byte{0x88, 2}, code)
	}
	key := rand.Uint32()
	frame := binary.BigEndian.AppendUint32([]byte{0x88, 0x80 | 2}, key)
	return binary.BigEndian.AppendUint16(frame, code^uint16(key>>16))
}

// halfClose ends the stream to the destination. Where only both can be ended, both are.
func (d *direction) halfClose() {
	if err := d.dst.closeWrite(); errors.Is(err, errors.ErrUnsupported) {
		d.other.term.limit(time.Now())
	}
}

// senderLeft passes on that the source has ended.
func (d *direction) senderLeft(err error) {
	d.tunnel.blame(d.src.who, reason(err))
	soon := time.Now().Add(replyTime)
	switch {
	case d.tunnel.websocket && d.src.who == Endpoint:
		// A server that has ended its stream has ended the connection (RFC 6455 section 7.1.1).
		d.term.limit(soon)
		_ = d.farewell(d.frames.atEnd())
		d.other.term.limit(soon)
	case err == io.EOF:
		d.halfClose()
	default:
		d.other.term.limit(time.Now())
	}
}

// receiverLeft deals with a destination that takes no more. What it still had to say arrives from its own direction,
// and then its end. Only a client that takes nothing is left at once when its time is over.
func (d *direction) receiverLeft(failed *writeError) {
	d.tunnel.blame(d.dst.who, reason(failed.error))
	if errors.Is(failed.error, os.ErrDeadlineExceeded) && d.dst.who == Client {
		d.other.term.limit(time.Now())
	}
}

// discard reads on until the source has answered the farewell, so that the answer and the farewell don't get lost in
// the reset that closing with unread bytes causes.
func (d *direction) discard() {
	d.term.forReply()
	for !d.frames.closed {
		p, err := d.source.read()
		d.frames.follow(p)
		d.source.release()
		if errors.Is(err, os.ErrDeadlineExceeded) {
			if _, over := d.term.renew(); over {
				return
			}
		} else if err != nil {
			return
		}
	}
}

// reason returns why a connection ended, without the addresses that net repeats.
func reason(err error) string {
	if err == io.EOF {
		return "end"
	}
	if op, ok := errors.AsType[*net.OpError](err); ok && op.Err != nil {
		err = op.Err
	}
	return err.Error()
}
