package proxy

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
)

// bodyReader reads the body from its start, for one attempt.
type bodyReader struct {
	body     *replayBody
	deadline *deadline

	// Guarded by body.mu.
	offset int // in body.buffer
	closed bool
}

// Read returns the buffered bytes, then reads from the client.
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
		readDone := b.readDone
		b.mu.Unlock()
		r.deadline.pause()
		<-readDone
		r.deadline.start()
		b.mu.Lock()
	}
}

// fetch reads from the client and buffers the bytes. The caller holds body.mu.
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

// Close ends the attempt's reading. It does not close the client's body, which another attempt may read.
func (r *bodyReader) Close() error {
	r.body.mu.Lock()
	defer r.body.mu.Unlock()
	r.closed = true
	return nil
}

// classifyBodyError returns the error for the client whose body could not be read: it is too large or malformed, did not arrive
// in time, or the client has disconnected.
func classifyBodyError(req *http.Request, err error) error {
	if _, ok := errors.AsType[caddyhttp.HandlerError](err); ok {
		return err // request_body's limit
	}
	if timeout, ok := errors.AsType[net.Error](err); errors.Is(err, os.ErrDeadlineExceeded) || ok && timeout.Timeout() {
		return caddyhttp.Error(http.StatusRequestTimeout, fmt.Errorf("the request body did not arrive in time: %w", err))
	}
	if req.Context().Err() != nil {
		return context.Canceled
	}
	return caddyhttp.Error(http.StatusBadRequest, fmt.Errorf("read the request body: %w", err))
}
