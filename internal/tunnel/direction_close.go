package tunnel

import (
	"errors"
	"io"
	"net"
	"os"
	"time"
)

// announceClose tells the destination that the edge closes the tunnel. It returns errCloseRequested, or a *writeError.
func (d *direction) announceClose() error {
	isAtBoundary, err := d.finishFrame()
	if err == nil {
		err = d.sendClose(isAtBoundary)
	}
	if err == nil {
		err = errCloseRequested
	}
	return err
}

// finishFrame forwards the rest of an unfinished frame, and drops what the source sent behind it. It reports whether the
// destination has got whole frames only.
func (d *direction) finishFrame() (isAtBoundary bool, failed error) {
	d.deadline.setForFrame()
	isAtBoundary = d.frames.isAtBoundary()
	for !isAtBoundary && !d.frames.invalid {
		p, err := d.unread, error(nil)
		if d.unread = nil; p == nil {
			p, err = d.reader.read()
		}
		if frameEnd := d.frames.track(p); frameEnd > 0 {
			p, isAtBoundary = p[:frameEnd], true
		}
		if len(p) > 0 {
			failed = d.writeAndCount(p)
		}
		d.reader.release()
		if failed != nil || err != nil {
			break
		}
	}
	return isAtBoundary, failed
}

// sendClose sends a close frame, or half-closes the connection if the destination is in the middle of a frame or has got a
// close frame already.
func (d *direction) sendClose(isAtBoundary bool) error {
	if !isAtBoundary || d.frames.closed {
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

// halfClose closes the destination for writing. If the connection can only be closed whole, the opposite direction ends too.
func (d *direction) halfClose() {
	if err := d.dst.closeWrite(); errors.Is(err, errors.ErrUnsupported) {
		d.other.deadline.limit(time.Now())
	}
}

// handleReadError tells the destination that the source sends no more.
func (d *direction) handleReadError(err error) {
	d.tunnel.recordCause(d.src.side, closeReason(err))
	replyDeadline := time.Now().Add(replyTimeout)
	switch {
	case d.tunnel.websocket && d.src.side == Endpoint:
		// A server that closes its stream closes the connection (RFC 6455 section 7.1.1).
		d.deadline.limit(replyDeadline)
		_ = d.sendClose(d.frames.isAtBoundary())
		d.other.deadline.limit(replyDeadline)
	case err == io.EOF:
		d.halfClose()
	default:
		d.other.deadline.limit(time.Now())
	}
}

// handleWriteError handles a failed write. The opposite direction still forwards what the destination has sent, and then
// its EOF. Only a client that reads nothing until the deadline is closed at once.
func (d *direction) handleWriteError(failed *writeError) {
	d.tunnel.recordCause(d.dst.side, closeReason(failed.error))
	if errors.Is(failed.error, os.ErrDeadlineExceeded) && d.dst.side == Client {
		d.other.deadline.limit(time.Now())
	}
}

// discard reads until the source has answered the close frame. To close a connection with unread bytes would send a reset,
// in which the close frame could get lost.
func (d *direction) discard() {
	d.deadline.setForReply()
	for !d.frames.closed {
		p, err := d.reader.read()
		d.frames.track(p)
		d.reader.release()
		if errors.Is(err, os.ErrDeadlineExceeded) {
			if _, expired := d.deadline.rearm(); expired {
				return
			}
		} else if err != nil {
			return
		}
	}
}

// closeReason returns why a connection ended, without the addresses that the errors of package net repeat.
func closeReason(err error) string {
	if err == io.EOF {
		return "end"
	}
	if op, ok := errors.AsType[*net.OpError](err); ok && op.Err != nil {
		err = op.Err
	}
	return err.Error()
}
