package proxy

import (
	"errors"
	"io"
	"maps"
	"net/http"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/theworklabs/edge/internal/upstreamconn"
)

// maxReplayBody is the size of the largest body that the edge buffers for a retry, in bytes.
const maxReplayBody = 64 << 10

// replayBody is the body of a request that may need several attempts. It is streamed and buffered at the same time: the next
// attempt sends the buffer first, and then what the client sends. The buffer is dropped if the body grows beyond maxReplayBody
// or the request is never sent again; then the body can't be sent again. A nil replayBody is no body.
//
// Only one attempt reads at a time. A read of a failed attempt may still be in progress: its bytes are buffered as well.
type replayBody struct {
	req      *http.Request
	src      io.ReadCloser
	trailers []string // names; the values come with the end of the body
	isKept   bool     // the request may be sent again, so that bytes are buffered

	mu            sync.Mutex
	buffer        []byte
	unbuffered    bool          // bytes were sent to an endpoint and not buffered
	currentReader *bodyReader   // the reader of the last attempt, the only one that may continue if unbuffered
	readDone      chan struct{} // closed when the current read from the client ends; nil: there is none
	err           error         // with which the client's body ended; io.EOF: it is complete
}

// errNotReplayable is why a body can't be sent again.
var errNotReplayable = errors.New("the request's body is too large to be sent again")

// newReplayBody returns the body of a request. isKept says that the request may be sent again.
func newReplayBody(req *http.Request, isKept bool) *replayBody {
	if req.Body == nil || req.Body == http.NoBody || req.ContentLength == 0 && len(req.Trailer) == 0 {
		return nil
	}
	b := &replayBody{req: req, src: req.Body, trailers: slices.Sorted(maps.Keys(req.Trailer)), isKept: isKept}
	if req.ProtoMajor == 3 && req.ContentLength < 0 && isKept {
		b.peek()
	}
	return b
}

// attach sets the body of one attempt. The body pauses the deadline while the edge waits for the client.
func (b *replayBody) attach(a *upstreamconn.Attempt, timeout *deadline) {
	if b == nil {
		return
	}
	a.ContentLength, a.Trailers = b.req.ContentLength, b.trailers
	if length, ok := b.length(); ok && len(b.trailers) == 0 {
		if a.ContentLength = length; length == 0 {
			return
		}
	}
	a.Body, a.BodyIsReplayable = b.open(timeout), b.isKept && b.isSmall()
}

// isSmall reports whether the body is known to fit into the buffer.
func (b *replayBody) isSmall() bool {
	if b == nil {
		return true
	}
	if b.req.ContentLength >= 0 {
		return b.req.ContentLength <= maxReplayBody
	}
	_, isComplete := b.length()
	return isComplete
}

// length returns the length of the body, and whether all of it is buffered.
func (b *replayBody) length() (n int64, ok bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return int64(len(b.buffer)), b.err == io.EOF && !b.unbuffered
}

// isBuffered reports whether all bytes so far are buffered, so that the body can be sent again.
func (b *replayBody) isBuffered() bool {
	if b == nil {
		return true
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	return !b.unbuffered
}

// detach ends the current attempt's reading, so that it sends no more bytes. It returns false if the body can't be sent again.
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
	// peekTimeout is how long the edge waits for the first bytes of a body that may be empty.
	peekTimeout = 10 * time.Millisecond
	// peekSize is how many bytes it reads during that time.
	peekSize = 512
)

// peek finds out whether a body of unknown length is empty, or short: over HTTP/3 every request has one.
func (b *replayBody) peek() {
	r := &bodyReader{body: b, closed: true} // closed: it reads only into the buffer
	var isTimedOut atomic.Bool
	done := make(chan struct{})
	go func() {
		defer close(done)
		b.mu.Lock()
		defer b.mu.Unlock()
		for b.err == nil && len(b.buffer) < peekSize && !isTimedOut.Load() {
			_, _ = r.fetch(make([]byte, peekSize)) // b.err has the error
		}
	}()
	timer := time.NewTimer(peekTimeout)
	defer timer.Stop()
	select {
	case <-done:
	case <-timer.C:
		isTimedOut.Store(true)
	}
}

// clientErrTimeout is how long clientErr waits for a read from the client to fail.
const clientErrTimeout = 200 * time.Millisecond

// clientErr returns why the client's body could not be read; nil if it could. When a client disconnects or stalls, net/http
// cancels the request's context just before the read fails.
func (b *replayBody) clientErr() error {
	if b == nil {
		return nil
	}
	b.mu.Lock()
	readDone := b.readDone
	b.mu.Unlock()
	if readDone != nil && b.req.Context().Err() != nil {
		select {
		case <-readDone:
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

// open returns a reader from the start of the body, and ends the reading of the previous attempt.
func (b *replayBody) open(timeout *deadline) *bodyReader {
	r := &bodyReader{body: b, deadline: timeout}
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.currentReader != nil {
		b.currentReader.closed = true
	}
	if !b.unbuffered { // else r would miss bytes
		b.currentReader = r
	}
	return r
}

// appendBuffer buffers what a reader has read from the client, if it fits. The caller holds mu.
func (b *replayBody) appendBuffer(p []byte, r *bodyReader) {
	switch {
	case len(p) == 0:
	case b.unbuffered:
	case r.closed: // the bytes are for the next attempt
		b.buffer = append(b.buffer, p...)
	case b.req.ContentLength > maxReplayBody || len(b.buffer)+len(p) > maxReplayBody || !b.isKept:
		b.buffer, b.unbuffered, r.offset = nil, true, 0
	default:
		b.buffer = append(b.buffer, p...)
		r.offset = len(b.buffer)
	}
}
