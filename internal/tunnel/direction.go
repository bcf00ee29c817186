package tunnel

import (
	"errors"
	"os"
)

// direction copies from one peer to the other. Only its own goroutine reads the source and writes to the destination; other
// goroutines only shorten its deadline.
type direction struct {
	tunnel   *tunnel
	src, dst *peer
	other    *direction
	reader   reader
	buffered []byte // bytes that were read before the tunnel was opened
	unread   []byte // bytes that were read, and that finishFrame forwards; valid until the reader's release
	frames   frameTracker
	copied   int64 // bytes
	deadline deadline
}

func (d *direction) setup(t *tunnel, src, dst *peer, buffered []byte) {
	d.tunnel, d.src, d.dst, d.buffered = t, src, dst, buffered
	d.other = src.writer
	d.deadline.src, d.deadline.dst = src.Conn, dst.Conn
	d.reader = newReader(src.Conn, &d.deadline)
	d.frames = newFrameTracker(src.side == Client)
	d.frames.invalid = !t.websocket
}

// run copies until the direction ends, and then closes it on both peers.
func (d *direction) run() {
	defer d.tunnel.directionDone()
	err := d.forward()
	if err == errCloseRequested {
		err = d.announceClose()
	}
	failed, writeFailed := err.(*writeError)
	switch {
	case err == errCloseRequested, err == errDone:
	case writeFailed:
		d.handleWriteError(failed)
	default:
		d.handleReadError(err)
	}
	d.dst.release()
	if err == errCloseRequested || writeFailed {
		d.discard()
	}
	d.src.release()
}

// Why a direction stops if neither peer is the cause.
var (
	errCloseRequested = errors.New("close requested")
	errDone           = errors.New("direction is done")
)

// writeError is the error of a write to the destination.
type writeError struct{ error }

// forward forwards what the source sends. It returns errCloseRequested, errDone, a *writeError, or the error of a read.
func (d *direction) forward() error {
	err := d.forwardChunk(d.buffered)
	d.buffered = nil
	for err == nil && !(d.frames.closed && d.deadline.isSet()) {
		var p []byte
		p, err = d.reader.read()
		if len(p) > 0 && d.deadline.closeRequested.Load() && !d.frames.isAtBoundary() && !d.frames.invalid && !d.frames.closed {
			// The bytes came at the same time as the request, and finish the frame. What is behind it must not begin another one.
			d.unread = p
			return errCloseRequested
		}
		if failed := d.forwardChunk(p); failed != nil {
			err = failed
		}
		d.reader.release()
		if errors.Is(err, os.ErrDeadlineExceeded) {
			err = d.handleReadTimeout()
		}
	}
	if err == nil {
		return errDone // the tunnel is closing, and a close frame was forwarded: nothing may follow it
	}
	return err
}

// handleReadTimeout returns why the direction has to stop after a read timed out, or nil if it goes on.
func (d *direction) handleReadTimeout() error {
	closeRequested, expired := d.deadline.rearm()
	switch {
	case closeRequested:
		return errCloseRequested
	case expired:
		return errDone
	}
	return nil
}

// forwardChunk tracks the frames of p and writes it to the destination.
func (d *direction) forwardChunk(p []byte) error {
	if len(p) == 0 {
		return nil
	}
	if !d.frames.closed {
		d.frames.track(p)
		if d.frames.closed {
			d.tunnel.recordCause(d.src.side, "close frame")
		}
	}
	return d.writeAndCount(p)
}

// writeAndCount writes p and counts it. It wraps the error, so that a timeout of the write is not taken for one of a read.
func (d *direction) writeAndCount(p []byte) error {
	n, err := d.dst.Write(p)
	d.copied += int64(n)
	d.tunnel.traffic.addBytes(d.src.side, n)
	if d.tunnel.idle != nil {
		d.tunnel.idle.recordActivity()
	}
	if err != nil {
		d.dst.markWriteFailed()
		return &writeError{err}
	}
	return nil
}
