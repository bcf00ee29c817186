package tunnel

import (
	"errors"
	"os"
)

// direction copies from one end to the other. Its goroutine alone reads the one and writes to the other; others only
// shorten its term.
type direction struct {
	tunnel   *tunnel
	src, dst *end
	other    *direction
	source   source
	first    []byte // what was read before there was a tunnel
	frames   frames
	moved    int64 // bytes
	term     term
}

func (d *direction) open(t *tunnel, src, dst *end, first []byte) {
	d.tunnel, d.src, d.dst, d.first = t, src, dst, first
	d.other = src.writer
	d.term.src, d.term.dst = src.Conn, dst.Conn
	d.source = newSource(src.Conn, &d.term)
	d.frames = newFrames(src.who == Client)
	d.frames.lost = !t.websocket
}

// run copies until the end, and then sees both ends off.
func (d *direction) run() {
	defer d.tunnel.over()
	err := d.forward()
	if err == errAsked {
		err = d.depart()
	}
	failed, unwanted := err.(*writeError)
	switch {
	case err == errAsked, err == errOver:
	case unwanted:
		d.receiverLeft(failed)
	default:
		d.senderLeft(err)
	}
	d.dst.leave()
	if err == errAsked || unwanted {
		d.discard()
	}
	d.src.leave()
}

// Why a direction stops, when neither end is the reason.
var (
	errAsked = errors.New("asked to say farewell")
	errOver  = errors.New("its time is over")
)

// writeError is why the destination takes no more.
type writeError struct{ error }

// forward passes on what the source sends. It returns errAsked, errOver, a *writeError, or what ended the source.
func (d *direction) forward() error {
	err := d.write(d.first)
	d.first = nil
	for err == nil && !(d.frames.closed && d.term.ending()) {
		var p []byte
		p, err = d.source.read()
		if failed := d.write(p); failed != nil {
			err = failed
		}
		d.source.release()
		if errors.Is(err, os.ErrDeadlineExceeded) {
			err = d.renew()
		}
	}
	if err == nil {
		return errOver // all has been said
	}
	return err
}

// renew returns why the direction has to stop after a read timed out, if it has to.
func (d *direction) renew() error {
	asked, over := d.term.renew()
	switch {
	case asked:
		return errAsked
	case over:
		return errOver
	}
	return nil
}

// write passes on what was read.
func (d *direction) write(p []byte) error {
	if len(p) == 0 {
		return nil
	}
	if !d.frames.closed {
		d.frames.follow(p)
		if d.frames.closed {
			d.tunnel.blame(d.src.who, "close frame")
		}
	}
	return d.pass(p)
}

// pass writes p and counts it. A failed write is no timeout of the source.
func (d *direction) pass(p []byte) error {
	n, err := d.dst.Write(p)
	d.moved += int64(n)
	d.tunnel.traffic.moved(d.src.who, n)
	if d.tunnel.idle != nil {
		d.tunnel.idle.moved()
	}
	if err != nil {
		d.dst.fail()
		return &writeError{err}
	}
	return nil
}
