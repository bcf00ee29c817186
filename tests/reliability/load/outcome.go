package load

import (
	"errors"
	"net"
	"net/http"
	"net/url"
)

// Outcome is the result of a request, as far as its client can tell.
type Outcome int

// The outcomes.
const (
	// Answered: the application has answered.
	Answered Outcome = iota
	// Refused: the request did not reach the application. The connection to the proxy failed, or the proxy answered 503 or 429.
	Refused
	// Unknown: the request was sent, and then the connection ended, the time was over, or the proxy answered 502 or 504. The
	// application may have acted on it.
	Unknown
	// Wrong: any other response, such as 404 or 500.
	Wrong
)

// String returns the outcome's name in lower case.
func (o Outcome) String() string {
	return [...]string{"answered", "refused", "unknown", "wrong"}[o]
}

// BackendHeader is a header of every response of the application.
const BackendHeader = "X-Test-Backend"

// classify returns the outcome of a request whose response was read to its end.
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

// classifyError returns the outcome of a request without a complete response. sent is whether the request's headers were written.
func classifyError(err error, sent bool) Outcome {
	if op, ok := errors.AsType[*net.OpError](err); ok && op.Op == "dial" || !sent {
		return Refused
	}
	return Unknown
}

// shortError returns an error's text without addresses and URLs, which differ from request to request.
func shortError(err error) string {
	if u, ok := errors.AsType[*url.Error](err); ok {
		err = u.Err
	}
	if op, ok := errors.AsType[*net.OpError](err); ok && op.Err != nil {
		return op.Op + ": " + op.Err.Error()
	}
	return err.Error()
}
