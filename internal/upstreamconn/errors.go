package upstreamconn

import (
	"errors"
	"io"
	"net"
	"net/textproto"
	"os"
	"slices"
	"strings"
	"syscall"
)

// IsMalformed reports whether [Conns.Send] failed because the endpoint's answer is not HTTP/1.1, such as one with two different
// lengths. The endpoint has answered then, however wrongly. A connection that ends within the head, or after a 1xx, is no
// answer.
func IsMalformed(err error) bool {
	if _, unsendable := errors.AsType[*InvalidRequestError](err); err == nil || unsendable || isConnError(err) {
		return false
	}
	if _, ok := errors.AsType[textproto.ProtocolError](err); ok || errors.Is(err, errTooMany1xx) {
		return true
	}
	text := err.Error()
	return slices.ContainsFunc(malformedErrorTexts, func(part string) bool { return strings.Contains(text, part) })
}

// malformedErrorTexts are parts of net/http's errors about answers, for which it has no types (response.go, transfer.go, transport.go).
var malformedErrorTexts = []string{
	"malformed HTTP", "malformed MIME header", "Content-Length", "transfer encoding", "trailer key", "response headers exceeded",
}

// isConnError reports whether an exchange failed because its connection did, or was closed before it could be used. net/http has
// no types for its parse errors, but wraps those of the connection.
func isConnError(err error) bool {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, net.ErrClosed) || errors.Is(err, os.ErrDeadlineExceeded) {
		return true
	}
	if _, ok := errors.AsType[syscall.Errno](err); ok {
		return true
	}
	for ; err != nil; err = errors.Unwrap(err) {
		if slices.Contains(closedConnErrorTexts, err.Error()) {
			return true
		}
	}
	return false
}

// closedConnErrorTexts are net/http's own errors of a kept connection that it, or the endpoint, closed in the meantime
// (transport.go).
var closedConnErrorTexts = []string{
	"http: server closed idle connection",
	"http: idle connection timeout",
	"http: CloseIdleConnections called",
	"http: putIdleConn: keep alives disabled",
	"http: putIdleConn: connection is in bad state",
}
