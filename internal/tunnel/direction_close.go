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

// announceClose has the destination know that the edge ends the tunnel. It returns errCloseRequested, or a *writeError.
func (d *direction) announceClose() error {
	whole, err := d.finishFrame()
	if err == nil {
		err = d.sendClose(whole)
	}
	if err == nil {
		err = errCloseRequested
	}
	return err
}

// finishFrame passes on the rest of a frame that has begun, and drops what came behind it. It reports whether the
// destination has got whole frames.
func (d *direction) finishFrame() (whole bool, failed error) {
	d.deadline.setForFrame()
	whole = d.frames.isAtBoundary()
	for !whole && !d.frames.invalid {
		p, err := d.reader.read()
		if end := d.frames.track(p); end > 0 {
			p, whole = p[:end], true
		}
		if len(p) > 0 {
			failed = d.writeAndCount(p)
		}
		d.reader.release()
		if failed != nil || err != nil {
			break
		}
	}
	return whole, failed
}

// sendClose is the last that is said to the destination: a close frame where there can be one and none has passed, or
// else the end of the stream.
func (d *direction) sendClose(whole bool) error {
	if !whole || d.frames.closed {
		d.halfClose()
		return nil
	}
	d.deadline.setForReply()
	if _, err := d.dst.Write(goingAwayFrame(d.dst.side == Endpoint)); err != nil {
		d.dst.markWriteFailed()
		return &writeError{err}
	}
	return nil
}

// goingAwayFrame returns a close frame with code 1001 (RFC 6455 section 7.4.1): unmasked for a client, masked for a server.
func goingAwayFrame(masked bool) []byte {
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
		d.other.deadline.limit(time.Now())
	}
}

// handleReadError passes on that the source has ended.
func (d *direction) handleReadError(err error) {
	d.tunnel.recordCause(d.src.side, closeReason(err))
	soon := time.Now().Add(replyTimeout)
	switch {
	case d.tunnel.websocket && d.src.side == Endpoint:
		// A server that has ended its stream has ended the connection (RFC 6455 section 7.1.1).
		d.deadline.limit(soon)
		_ = d.sendClose(d.frames.isAtBoundary())
		d.other.deadline.limit(soon)
	case err == io.EOF:
		d.halfClose()
	default:
		d.other.deadline.limit(time.Now())
	}
}

// handleWriteError deals with a destination that takes no more. What it still had to say arrives from its own direction,
// and then its end. Only a client that takes nothing is left at once when its time is over.
func (d *direction) handleWriteError(failed *writeError) {
	d.tunnel.recordCause(d.dst.side, closeReason(failed.error))
	if errors.Is(failed.error, os.ErrDeadlineExceeded) && d.dst.side == Client {
		d.other.deadline.limit(time.Now())
	}
}

// discard reads on until the source has answered the farewell, so that the answer and the farewell don't get lost in
// the reset that closing with unread bytes causes.
func (d *direction) discard() {
	d.deadline.setForReply()
	for !d.frames.closed {
		p, err := d.reader.read()
		d.frames.track(p)
		d.reader.release()
		if errors.Is(err, os.ErrDeadlineExceeded) {
			if _, over := d.deadline.rearm(); over {
				return
			}
		} else if err != nil {
			return
		}
	}
}

// closeReason returns why a connection ended, without the addresses that net repeats.
func closeReason(err error) string {
	if err == io.EOF {
		return "end"
	}
	if op, ok := errors.AsType[*net.OpError](err); ok && op.Err != nil {
		err = op.Err
	}
	return err.Error()
}
