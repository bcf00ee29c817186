package proxy

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
)

// maxReplayBody is the largest body that is kept to be sent again.
const maxReplayBody = 64 << 10

// replayBody is a request's body on its way through attempts. It is passed on as it comes, and kept while it is: the next attempt
// is sent what came so far, and then what comes. A body that grows beyond maxReplayBody is not kept any more, and can't be
// sent again, and neither can that of a request that must not be. A nil replayBody is none.
//
// Only one attempt reads at a time, but the reads of one that failed may not be over: what they still get is kept as well.
type replayBody struct {
	req *http.Request // whose it is
	src io.ReadCloser

	mu            sync.Mutex
	buffer        []byte
	unbuffered    bool          // something was passed on and not kept
	currentReader *bodyReader   // the last one that was opened, which alone may read on when something is lost
	readDone      chan struct{} // closed when the read from the client that is under way is over; nil: none is
	err           error         // that the client's body ended with; io.EOF: all of it has come
}

// errNotReplayable is why a body can't be sent again.
var errNotReplayable = errors.New("the request's body is too large to be sent again")

// newReplayBody returns the body of a request.
func newReplayBody(req *http.Request) *replayBody {
	if req.Body == nil || req.Body == http.NoBody || req.ContentLength == 0 && len(req.Trailer) == 0 {
		return nil
	}
	b := &replayBody{req: req, src: req.Body}
	if req.ProtoMajor == 3 && req.ContentLength < 0 && isIdempotent(req) {
		b.peek()
	}
	return b
}

// attach puts the body on one attempt's request. The deadline does not run while the client is waited for.
func (b *replayBody) attach(req *http.Request, late *deadline) *http.Request {
	late.start()
	req.Body, req.GetBody = nil, nil
	if b == nil {
		return req
	}
	if b.isSmall() {
		req.GetBody = func() (io.ReadCloser, error) { return nil, errNotReplayable } // it tells that the request may be repeated
	}
	if length, ok := b.length(); ok && len(req.Trailer) == 0 {
		req.ContentLength = length
		if length == 0 {
			req.GetBody = nil
			return req
		}
	}
	req.Body = b.open(late)
	return req
}

// isSmall reports whether the body is known to be one that will be kept whole.
func (b *replayBody) isSmall() bool {
	if b == nil {
		return true
	}
	if b.req.ContentLength >= 0 {
		return b.req.ContentLength <= maxReplayBody
	}
	_, whole := b.length()
	return whole
}

// length returns the body's length, if all of it has come and is kept.
func (b *replayBody) length() (n int64, ok bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return int64(len(b.buffer)), b.err == io.EOF && !b.unbuffered
}

// isReplayable reports whether the body can be sent once more, as far as it has come.
func (b *replayBody) isReplayable() bool {
	if b == nil {
		return true
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	return !b.unbuffered
}

// detach ends the reading of the attempt under way, so that nothing more is passed on by it, if the body can be sent once more.
func (b *replayBody) detach() bool {
	if b == nil {
		return true
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.unbuffered {
		return false
	}
	if b.currentReader != nil {
		b.currentReader.closed = true
	}
	return true
}

const (
	// peekTimeout is how long the beginning of a body may take to come that may be none.
	peekTimeout = 10 * time.Millisecond
	// peekSize is how much is read of it meanwhile.
	peekSize = 512
)

// peek finds out whether a body of unknown length is empty, or short: over HTTP/3 every request has one.
func (b *replayBody) peek() {
	r := &bodyReader{body: b, deadline: newDeadline(0, nil), closed: true} // closed: what it gets is for others
	var late atomic.Bool
	done := make(chan struct{})
	go func() {
		defer close(done)
		b.mu.Lock()
		defer b.mu.Unlock()
		for b.err == nil && len(b.buffer) < peekSize && !late.Load() {
			_, _ = r.fetch(make([]byte, peekSize)) // the error is kept
		}
	}()
	timer := time.NewTimer(peekTimeout)
	defer timer.Stop()
	select {
	case <-done:
	case <-timer.C:
		late.Store(true)
	}
}

// clientErrTimeout is how long a read from the client that is about to fail may take to do so.
const clientErrTimeout = 200 * time.Millisecond

// clientErr returns why the client's body could not be read; nil if that is not what went wrong. net/http ends a request's context just
// before the read fails that shows that the client has left, or has stalled.
func (b *replayBody) clientErr() error {
	if b == nil {
		return nil
	}
	b.mu.Lock()
	reading := b.readDone
	b.mu.Unlock()
	if reading != nil && b.req.Context().Err() != nil {
		select {
		case <-reading:
		case <-time.After(clientErrTimeout):
		}
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.err == io.EOF {
		return nil
	}
	return b.err
}

// open begins to read the body anew, and ends an earlier attempt's reading.
func (b *replayBody) open(late *deadline) *bodyReader {
	r := &bodyReader{body: b, deadline: late}
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.currentReader != nil {
		b.currentReader.closed = true
	}
	if !b.unbuffered { // else what it would read has a hole
		b.currentReader = r
	}
	return r
}

// bodyReader reads the body from its beginning, for one attempt.
type bodyReader struct {
	body     *replayBody
	deadline *deadline

	// Guarded by body.mu.
	offset int // in kept
	closed bool
}

// Read returns what is kept, then what the client sends.
func (r *bodyReader) Read(p []byte) (int, error) {
	b := r.body
	b.mu.Lock()
	defer b.mu.Unlock()
	for {
		switch {
		case r.closed:
			return 0, http.ErrBodyReadAfterClose
		case b.unbuffered && b.currentReader != r:
			return 0, errNotReplayable
		case r.offset < len(b.buffer):
			n := copy(p, b.buffer[r.offset:])
			r.offset += n
			return n, nil
		case b.err != nil:
			return 0, b.err
		case b.readDone == nil:
			return r.fetch(p)
		}
		reading := b.readDone
		b.mu.Unlock()
		r.deadline.pause()
		<-reading
		r.deadline.start()
		b.mu.Lock()
	}
}

// fetch reads from the client, and keeps what it gets. The caller holds body.mu.
func (r *bodyReader) fetch(p []byte) (int, error) {
	b := r.body
	b.readDone = make(chan struct{})
	b.mu.Unlock()
	r.deadline.pause()
	n, err := b.src.Read(p)
	r.deadline.start()
	b.mu.Lock()
	close(b.readDone)
	b.readDone = nil
	if err != nil && err != io.EOF {
		err = classifyBodyError(b.req, err)
	}
	b.err = err
	b.appendBuffer(p[:n], r)
	if r.closed {
		return 0, http.ErrBodyReadAfterClose
	}
	return n, err
}

// appendBuffer adds what a reader got from the client, if there is room. The caller holds mu.
func (b *replayBody) appendBuffer(p []byte, by *bodyReader) {
	switch {
	case len(p) == 0:
	case b.unbuffered:
	case by.closed: // it is for the next attempt
		b.buffer = append(b.buffer, p...)
	case b.req.ContentLength > maxReplayBody || len(b.buffer)+len(p) > maxReplayBody || !isIdempotent(b.req):
		b.buffer, b.unbuffered, by.offset = nil, true, 0
	default:
		b.buffer = append(b.buffer, p...)
		by.offset = len(b.buffer)
	}
}

// Close ends the attempt's reading. It leaves the client's body open, which another attempt may read on.
func (r *bodyReader) Close() error {
	r.body.mu.Lock()
	defer r.body.mu.Unlock()
	r.closed = true
	return nil
}

// classifyBodyError says what it means that the client's body could not be read: it was too large for a limit, did not come in time, was
// not HTTP, or its client has left.
func classifyBodyError(req *http.Request, err error) error {
	if _, ok := errors.AsType[caddyhttp.HandlerError](err); ok {
		return err // request_body's limit
	}
	if timeout, ok := errors.AsType[net.Error](err); errors.Is(err, os.ErrDeadlineExceeded) || ok && timeout.Timeout() {
		return caddyhttp.Error(http.StatusRequestTimeout, fmt.Errorf("the request's body did not come in time: %w", err))
	}
	if req.Context().Err() != nil {
		return context.Canceled
	}
	return caddyhttp.Error(http.StatusBadRequest, fmt.Errorf("read the request's body: %w", err))
}

// isIdempotent reports whether sending the request twice has the effect of sending it once (RFC 9110 section 9.2.2). That
// holds for a GET that asks for an upgrade too: without an answer, nothing was taken over.
func isIdempotent(req *http.Request) bool {
	switch req.Method {
	case http.MethodGet, http.MethodHead, http.MethodOptions, http.MethodTrace, http.MethodPut, http.MethodDelete:
		return true
	}
	return false
}
