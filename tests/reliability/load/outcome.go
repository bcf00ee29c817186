package load

import (
	"errors"
	"net"
	"net/http"
	"net/url"
)

// Outcome is what became of a request, as far as its client can tell.
type Outcome int

// What a client can tell.
const (
	// Answered by the application.
	Answered Outcome = iota
	// Refused before it reached the application: the proxy could not be connected to, or said 503 itself.
	Refused
	// Unknown: it was sent and then cut, timed out, or answered with 502 or 504. The application may have acted on it.
	Unknown
	// Wrong: some other answer than the application gives, such as 404 or 500.
	Wrong
)

// Outcomes are all outcomes, from good to bad.
var Outcomes = []Outcome{Answered, Refused, Unknown, Wrong}

// String returns the outcome's name in lower case.
func (o Outcome) String() string {
	return [...]string{"answered", "refused", "unknown", "wrong"}[o]
}

// BackendHeader is in every answer that is the application's own.
const BackendHeader = "X-Test-Backend"

// classify tells the outcome from an answer whose body was read to its end.
func classify(resp *http.Response) Outcome {
	fromBackend := resp.Header.Get(BackendHeader) != ""
	switch {
	case fromBackend && resp.StatusCode == http.StatusOK:
		return Answered
	case fromBackend:
		return Wrong
	case resp.StatusCode == http.StatusServiceUnavailable || resp.StatusCode == http.StatusTooManyRequests:
		return Refused
	case resp.StatusCode == http.StatusBadGateway || resp.StatusCode == http.StatusGatewayTimeout:
		return Unknown
	default:
		return Wrong
	}
}

// classifyError tells the outcome of a request that got no whole answer; sent says whether a byte of it was written.
func classifyError(err error, sent bool) Outcome {
	if op, ok := errors.AsType[*net.OpError](err); ok && op.Op == "dial" || !sent {
		return Refused
	}
	return Unknown
}

// shortError leaves out of an error what differs from request to request.
func shortError(err error) string {
	if u, ok := errors.AsType[*url.Error](err); ok {
		err = u.Err
	}
	if op, ok := errors.AsType[*net.OpError](err); ok && op.Err != nil {
		return op.Op + ": " + op.Err.Error()
	}
	return err.Error()
}
