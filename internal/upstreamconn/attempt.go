package upstreamconn

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptrace"
	"sync/atomic"
)

// attempt records what net/http does with one request.
type attempt struct {
	reused  atomic.Bool // the request is on a connection that was used before
	written atomic.Bool // net/http has begun to write the request
}

// trace returns the request with the trace that fills in the attempt.
func (a *attempt) trace(req *http.Request) *http.Request {
	return req.WithContext(httptrace.WithClientTrace(req.Context(), &httptrace.ClientTrace{
		GotConn:      func(info httptrace.GotConnInfo) { a.reused.Store(info.Reused) },
		WroteHeaders: func() { a.written.Store(true) },
	}))
}

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

// disableRetry changes the request, which is the caller's own copy, so that net/http sends it only once, unless it has
// written nothing of it. By default net/http retries some requests itself, on one idle connection after the other, and then
// on a new one: a request that crashes its container would be sent many times, and the error would say that it was not sent.
func disableRetry(req *http.Request) *http.Request {
	req.GetBody = nil
	switch req.Method {
	case http.MethodGet, http.MethodHead, http.MethodOptions, http.MethodTrace, "":
		if req.Body == nil || req.Body == http.NoBody {
			// An empty body without GetBody. With this encoding, net/http writes no header about it.
			req.Body, req.ContentLength, req.TransferEncoding = io.NopCloser(bytes.NewReader(nil)), 0, []string{"identity"}
		}
	}
	return req
}

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

// canReuseConn reports whether a request can be sent again if a reused connection turns out to be closed.
func canReuseConn(req *http.Request) bool {
	if !IsIdempotent(req.Method) {
		return false
	}
	if req.Method == http.MethodPut || req.Method == http.MethodDelete {
		if req.Header.Get("Idempotency-Key") != "" || req.Header.Get("X-Idempotency-Key") != "" {
			return false // net/http would send it again itself
		}
	}
	return req.Body == nil || req.Body == http.NoBody || req.Context().Value(replayableBodyKey{}) != nil
}
