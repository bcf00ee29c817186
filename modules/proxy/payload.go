package proxy

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/http"
	"sync"
	"sync/atomic"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
)

// keepMost is the largest body that is kept to be sent again.
const keepMost = 64 << 10

// payload is a request's body on its way through attempts: kept whole when it is small and its length is known, else
// passed on as it comes, which can happen only once.
//
// Reading a small body first has a second use: only when the body was read does net/http notice that an HTTP/1.1
// client left while its request waits.
type payload struct {
	kept    *[]byte // nil: there is none, or it is not kept; at most keepMost
	stream  io.ReadCloser
	begun   atomic.Bool  // the stream has been read from
	readers atomic.Int32 // open readers of kept, and one for the request itself
}

var buffers = sync.Pool{New: func() any { b := make([]byte, 0, keepMost); return &b }}

// takePayload reads the body of a request if it is to be kept.
func takePayload(req *http.Request) (*payload, error) {
	p := new(payload)
	p.readers.Store(1)
	if req.Body == nil || req.Body == http.NoBody || req.ContentLength == 0 {
		return p, nil
	}
	if req.ContentLength > keepMost || req.ContentLength < 0 && !idempotent(req) {
		p.stream = req.Body
		return p, nil
	}
	p.kept = buffers.Get().(*[]byte)
	*p.kept = (*p.kept)[:keepMost]
	if req.ContentLength > 0 {
		*p.kept = (*p.kept)[:req.ContentLength]
	}
	n, err := io.ReadFull(req.Body, *p.kept)
	switch {
	case req.ContentLength < 0 && (err == io.EOF || err == io.ErrUnexpectedEOF):
		// Over HTTP/3, a request without a body has one of unknown length: this is how it shows to be empty.
		*p.kept = (*p.kept)[:n]
	case err != nil:
		p.done()
		return nil, bodyError(req, err)
	case req.ContentLength < 0:
		// It is longer than what is kept. The buffer is not given back: it is part of the stream now.
		head := *p.kept
		p.kept = nil
		p.stream = struct {
			io.Reader
			io.Closer
		}{io.MultiReader(bytes.NewReader(head), req.Body), req.Body}
	}
	return p, nil
}

// bodyError says what it means that the client's body could not be read.
func bodyError(req *http.Request, err error) error {
	if ctxErr := req.Context().Err(); ctxErr != nil {
		return ctxErr
	}
	if _, ok := errors.AsType[caddyhttp.HandlerError](err); ok {
		return err // request_body's limit
	}
	return caddyhttp.Error(http.StatusBadRequest, fmt.Errorf("read the request's body: %w", err))
}

// attach puts the body on one attempt's request, and sees that the deadline runs when the endpoint is waited for.
func (p *payload) attach(req *http.Request, late *deadline) *http.Request {
	switch {
	case p.kept != nil && len(*p.kept) == 0:
		req.Body, req.GetBody, req.ContentLength = nil, nil, 0
		late.begin()
	case p.kept != nil:
		req.ContentLength = int64(len(*p.kept))
		req.GetBody = func() (io.ReadCloser, error) { return p.open(), nil }
		req.Body = p.open()
		late.begin()
	case p.stream != nil:
		req.GetBody = nil
		req.Body = &sending{payload: p, late: late, req: req}
	default:
		req.Body, req.GetBody = nil, nil
		late.begin()
	}
	return req
}

// again reports whether the request may be sent once more after it was sent and failed.
func (p *payload) again(req *http.Request) bool {
	return idempotent(req) && (p.stream == nil || !p.begun.Load())
}

// idempotent reports whether sending the request twice has the effect of sending it once (RFC 9110 section 9.2.2). That
// holds for a GET that asks for an upgrade too: without an answer, nothing was taken over.
func idempotent(req *http.Request) bool {
	switch req.Method {
	case http.MethodGet, http.MethodHead, http.MethodOptions, http.MethodTrace, http.MethodPut, http.MethodDelete:
		return true
	}
	return false
}

// done ends the request's own use of the buffer. Readers that net/http still holds keep it until they are closed.
func (p *payload) done() {
	if p.readers.Add(-1) == 0 && p.kept != nil {
		buffers.Put(p.kept)
		p.kept = nil
	}
}

func (p *payload) open() io.ReadCloser {
	p.readers.Add(1)
	return &keptReader{Reader: bytes.NewReader(*p.kept), payload: p}
}

// keptReader reads the kept body once.
type keptReader struct {
	*bytes.Reader
	payload *payload
	once    sync.Once
}

// Close lets go of the buffer; net/http may call it long after the answer.
func (r *keptReader) Close() error {
	r.once.Do(r.payload.done)
	return nil
}

// sending passes the client's body on. Closing it does not close the client's: when nothing was read of it, another
// attempt may.
type sending struct {
	*payload
	late *deadline
	req  *http.Request
}

// Read reads from the client, whose time is not counted as the endpoint's.
func (s *sending) Read(b []byte) (int, error) {
	s.begun.Store(true)
	s.late.pause()
	n, err := s.stream.Read(b)
	s.late.begin()
	if err != nil && err != io.EOF {
		err = bodyError(s.req, err)
	}
	return n, err
}

// Close leaves the client's body open.
func (s *sending) Close() error { return nil }
