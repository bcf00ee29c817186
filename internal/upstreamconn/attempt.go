package upstreamconn

import (
	"context"
	"io"
	"net/http"
	"time"
)

// Attempt is one request to an endpoint, for [Conns.Send].
type Attempt struct {
	// Request has the method, the URL, the headers, the host and the trailers. It is not changed, and its body and context are not used.
	Request *http.Request
	// Context ends the attempt and the response's body.
	Context context.Context
	// Header replaces the headers of the request, unless it is nil.
	Header http.Header

	// Body is nil if there is none. Send closes it, except if it returns a [*DialError] or an [*InvalidRequestError].
	Body io.ReadCloser
	// ContentLength is the length of the body; -1 if it is not known.
	ContentLength int64
	// BodyIsReplayable means that the caller can send the body again.
	BodyIsReplayable bool
	// Trailers are the names of the trailers that the request announces. The values are in the request's Trailer when the body was read to its
	// end; before that, another attempt's body may still write there.
	Trailers []string

	// DialTimeout is the longest time for a connect. 0 is DefaultDialTimeout.
	DialTimeout time.Duration
	// NewConn makes the request use a new connection. It is for a retry after a reused connection has failed: other idle connections may be
	// dead too.
	NewConn bool
	// ReuseAll lets a request use an idle connection that can't be sent twice, such as a POST. If the endpoint closes the connection at the same
	// time, Send returns a [*NotDeliveredError] if the endpoint has not got the request, which is known only of endpoints that close connections
	// with close(). BodyIsReplayable is required.
	ReuseAll bool

	// Interim gets 1xx responses, before Send returns. nil: the trace of the context does.
	Interim func(code int, header http.Header) error

	// Timing is set by Send.
	Timing Timing

	sentAt, connectedAt time.Time
	isReused            bool // the connection was used before
}

// Timing is how long an attempt took.
type Timing struct {
	Connect   time.Duration // until a new connection was made; 0 on a reused one
	FirstByte time.Duration // from then on, until the head of the response had arrived, or the attempt failed; 0 if there was no connection
}

// begin starts the clock.
func (a *Attempt) begin() { a.sentAt = time.Now() }

// connected notes that the attempt has a connection.
func (a *Attempt) connected(isReused bool) { a.connectedAt, a.isReused = time.Now(), isReused }

// end sets Timing.
func (a *Attempt) end() {
	now := time.Now()
	switch {
	case a.connectedAt.IsZero():
		a.Timing = Timing{Connect: now.Sub(a.sentAt)}
	case a.isReused:
		a.Timing = Timing{FirstByte: now.Sub(a.connectedAt)}
	default:
		a.Timing = Timing{Connect: a.connectedAt.Sub(a.sentAt), FirstByte: now.Sub(a.connectedAt)}
	}
}

// header returns the headers to send.
func (a *Attempt) header() http.Header {
	if a.Header != nil {
		return a.Header
	}
	return a.Request.Header
}

// method returns the method to send.
func (a *Attempt) method() string {
	if a.Request.Method == "" {
		return http.MethodGet
	}
	return a.Request.Method
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

// canReuseConn reports whether the request may use a reused connection: whether it can be sent again if that turns out to be closed.
func (a *Attempt) canReuseConn() bool {
	return !a.NewConn && (a.ReuseAll || a.canRepeat()) && (a.Body == nil || a.BodyIsReplayable)
}

// canRepeat reports whether the request may be sent twice.
func (a *Attempt) canRepeat() bool { return IsIdempotent(a.Request.Method) }
