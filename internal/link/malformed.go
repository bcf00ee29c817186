package link

import (
	"context"
	"errors"
	"io"
	"net"
	"os"
	"slices"
	"syscall"
)

// IsMalformed reports whether [Link.Send] failed because the endpoint's answer is not HTTP/1.1, such as one with two different
// lengths. The endpoint has answered then, however wrongly. A connection that ends within the head, or after a 1xx, is no
// answer.
func IsMalformed(err error) bool {
	if err == nil || errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return false
	}
	if _, ok := errors.AsType[*DialError](err); ok {
		return false
	}
	return !isConnEnd(err)
}

// isConnEnd reports whether an exchange failed because its connection did, or was closed before it could be used. net/http has
// no types for its parse errors, but wraps those of the connection.
func isConnEnd(err error) bool {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, net.ErrClosed) || errors.Is(err, os.ErrDeadlineExceeded) {
		return true
	}
	if _, ok := errors.AsType[syscall.Errno](err); ok {
		return true
	}
	for ; err != nil; err = errors.Unwrap(err) {
		if slices.Contains(closedBeforeUse, err.Error()) {
			return true
		}
	}
	return false
}

// closedBeforeUse are net/http's own errors of a kept connection that it, or the endpoint, closed in the meantime
// (transport.go).
var closedBeforeUse = []string{
	"http: server closed idle connection",
	"http: idle connection timeout",
	"http: CloseIdleConnections called",
	"http: putIdleConn: keep alives disabled",
	"http: putIdleConn: connection is in bad state",
}
