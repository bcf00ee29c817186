package tunnel

import (
	"errors"
	"os"
)

// direction copies from one end to the other. Its goroutine alone reads the one and writes to the other; others only
// shorten its term.
type direction struct {
	tunnel   *tunnel
	src, dst *peer
	other    *direction
	reader   reader
	buffered []byte // what was read before there was a tunnel
	frames   frameTracker
	copied   int64 // bytes
	deadline deadline
}

func (d *direction) setup(t *tunnel, src, dst *peer, first []byte) {
	d.tunnel, d.src, d.dst, d.buffered = t, src, dst, first
	d.other = src.writer
	d.deadline.src, d.deadline.dst = src.Conn, dst.Conn
	d.reader = newReader(src.Conn, &d.deadline)
	d.frames = newFrameTracker(src.side == Client)
	d.frames.invalid = !t.websocket
}

// run copies until the end, and then sees both ends off.
func (d *direction) run() {
	defer d.tunnel.directionDone()
	err := d.forward()
	if err == errCloseRequested {
		err = d.announceClose()
	}
	failed, unwanted := err.(*writeError)
	switch {
	case err == errCloseRequested, err == errDone:
	case unwanted:
		d.handleWriteError(failed)
	default:
		d.handleReadError(err)
	}
	d.dst.release()
	if err == errCloseRequested || unwanted {
		d.discard()
	}
	d.src.release()
}

// Why a direction stops, when neither end is the reason.
var (
	errCloseRequested = errors.New("asked to say farewell")
	errDone           = errors.New("its time is over")
)

// writeError is why the destination takes no more.
type writeError struct{ error }

// forward passes on what the source sends. It returns errCloseRequested, errDone, a *writeError, or what ended the source.
func (d *direction) forward() error {
	err := d.forwardChunk(d.buffered)
	d.buffered = nil
	for err == nil && !(d.frames.closed && d.deadline.isSet()) {
		var p []byte
		p, err = d.reader.read()
		if failed := d.forwardChunk(p); failed != nil {
			err = failed
		}
		d.reader.release()
		if errors.Is(err, os.ErrDeadlineExceeded) {
			err = d.handleReadTimeout()
		}
	}
	if err == nil {
		return errDone // all has been said
	}
	return err
}

// handleReadTimeout returns why the direction has to stop after a read timed out, if it has to.
func (d *direction) handleReadTimeout() error {
	asked, over := d.deadline.rearm()
	switch {
	case asked:
		return errCloseRequested
	case over:
		return errDone
	}
	return nil
}

// forwardChunk passes on what was read.
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

// writeAndCount writes p and counts it. A failed write is no timeout of the source.
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
