package upstreamconn

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptrace"
	"sync/atomic"
	"time"
)

// Options are how one request is sent.
type Options struct {
	// DialTimeout is the longest time for a connect. 0 is DefaultDialTimeout.
	DialTimeout time.Duration
	// NewConn makes the request use a new connection. It is for a retry after a reused connection has failed: other idle
	// connections may be dead too.
	NewConn bool
	// BodyIsReplayable means that the caller can send the request's body again.
	BodyIsReplayable bool
}

// Prepare returns a copy of a request for [Conns.Send], with the context. The caller may replace the body of the copy.
func Prepare(ctx context.Context, req *http.Request, o Options) *http.Request {
	if o.DialTimeout == 0 {
		o.DialTimeout = DefaultDialTimeout
	}
	a := &attempt{Context: ctx, Options: o, begun: time.Now()}
	a.trace = httptrace.ClientTrace{GotConn: a.gotConn, WroteHeaders: a.wroteHeaders}
	return req.WithContext(httptrace.WithClientTrace(a, &a.trace))
}

// attempt is the context of a request that Prepare returned. It records what net/http does with it.
type attempt struct {
	context.Context
	Options
	trace   httptrace.ClientTrace
	reused  atomic.Bool  // the request is on a connection that was used before
	written atomic.Bool  // net/http has begun to write the request
	gotAt   atomic.Int64 // when it got its connection, in nanoseconds since [attempt.begun]; 0: not yet
	begun   time.Time
}

type attemptKey struct{}

// attemptOf returns the attempt of a context that comes from Prepare.
func attemptOf(ctx context.Context) *attempt { return ctx.Value(attemptKey{}).(*attempt) }

// Value returns the attempt itself for its key.
func (a *attempt) Value(key any) any {
	if key == (attemptKey{}) {
		return a
	}
	return a.Context.Value(key)
}

func (a *attempt) gotConn(info httptrace.GotConnInfo) {
	a.reused.Store(info.Reused)
	a.gotAt.Store(int64(time.Since(a.begun)))
}

// Timing is how long an attempt took.
type Timing struct {
	Connect   time.Duration // until a new connection was made; 0 on a reused one
	FirstByte time.Duration // from then on, until now; 0 if there was no connection
}

// TimingOf returns the timing of a request that [Prepare] returned, when the head of its response has arrived, or it has failed.
func TimingOf(req *http.Request) (t Timing) {
	a := attemptOf(req.Context())
	total, connected := time.Since(a.begun), time.Duration(a.gotAt.Load())
	if connected == 0 {
		return Timing{Connect: total}
	}
	t.FirstByte = total - connected
	if !a.reused.Load() {
		t.Connect = connected
	}
	return t
}

func (a *attempt) wroteHeaders() { a.written.Store(true) }

// wrapError returns the error of the attempt as the type that [Conns.Send] documents.
func (a *attempt) wrapError(err error) error {
	_, isDialError := errors.AsType[*DialError](err)
	switch {
	case isDialError || errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded):
		return err
	case isConnError(err):
		if a.reused.Load() {
			return &ReusedConnError{err}
		}
		return err
	case !a.written.Load():
		return &InvalidRequestError{err}
	}
	return err
}

// disableRetry changes the request so that net/http sends it only once, unless it has written nothing of it. By default net/http retries some requests itself, on one idle connection after the other, and then
// on a new one: a request that crashes its container would be sent many times, and the error would say that it was not sent.
func disableRetry(req *http.Request) {
	req.GetBody = nil
	switch req.Method {
	case http.MethodGet, http.MethodHead, http.MethodOptions, http.MethodTrace, "":
		if req.Body == nil || req.Body == http.NoBody {
			// An empty body without GetBody. With this encoding, net/http writes no header about it.
			req.Body, req.ContentLength, req.TransferEncoding = emptyBody{}, 0, identity
		}
	}
}

// emptyBody is a body without bytes that net/http does not know to be empty.
type emptyBody struct{}

// Read returns the end of the body.
func (emptyBody) Read([]byte) (int, error) { return 0, io.EOF }

// WriteTo writes nothing. Without it, net/http would allocate a buffer of 32 KiB to copy the body.
func (emptyBody) WriteTo(io.Writer) (int64, error) { return 0, nil }

// Close does nothing.
func (emptyBody) Close() error { return nil }

var _ io.WriterTo = emptyBody{}

var identity = []string{"identity"}

// IsIdempotent reports whether sending a request with the method twice has the same effect as sending it once (RFC 9110
// section 9.2.2). "" is GET, as in net/http. It holds for a GET that asks for an upgrade too: without a response, nothing
// was upgraded.
func IsIdempotent(method string) bool {
	switch method {
	case http.MethodGet, http.MethodHead, http.MethodOptions, http.MethodTrace, http.MethodPut, http.MethodDelete, "":
		return true
	}
	return false
}

// canReuseConn reports whether a request may use a reused connection: whether it can be sent again if that turns out to be closed.
func (a *attempt) canReuseConn(req *http.Request) bool {
	if a.NewConn || !IsIdempotent(req.Method) {
		return false
	}
	if req.Method == http.MethodPut || req.Method == http.MethodDelete {
		if req.Header.Get("Idempotency-Key") != "" || req.Header.Get("X-Idempotency-Key") != "" {
			return false // net/http would send it again itself
		}
	}
	return req.Body == nil || req.Body == http.NoBody || a.BodyIsReplayable
}
