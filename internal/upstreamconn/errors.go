package upstreamconn

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/textproto"
	"os"
	"slices"
	"strings"
	"syscall"
)

// DialError is a connection that could not be made: no byte of any request was sent.
type DialError struct {
	Address string
	Err     error
}

// Error names the address and the cause.
func (e *DialError) Error() string { return fmt.Sprintf("dial %s: %v", e.Address, cause(e.Err)) }

// Unwrap returns the cause.
func (e *DialError) Unwrap() error { return e.Err }

// cause removes the address that net's own errors repeat.
func cause(err error) error {
	if op, ok := errors.AsType[*net.OpError](err); ok && op.Err != nil {
		return op.Err
	}
	return err
}

// errRemoved is the cause of a [DialError] after [Conns.Close].
var errRemoved = errors.New("the endpoint was removed")

// errAborted is why a request failed, or its response is incomplete, after [Conns.Abort].
var errAborted = fmt.Errorf("the endpoint can no longer be reached: %w", net.ErrClosed)

// explain returns the error with its cause, if it is that the edge has closed the connection.
func (c *Conns) explain(err error) error {
	if c.isAborted.Load() && errors.Is(err, net.ErrClosed) {
		return errAborted
	}
	return err
}

// InvalidRequestError is a request that can't be sent as it is, such as one with a line break in a header. Nothing was sent.
type InvalidRequestError struct{ Err error }

// Error says what is wrong with the request.
func (e *InvalidRequestError) Error() string { return e.Err.Error() }

// Unwrap returns what is wrong with the request.
func (e *InvalidRequestError) Unwrap() error { return e.Err }

// ReusedConnError is a request that was sent on a reused connection, which ended before a response came. Most often the
// endpoint had closed the idle connection before it read the request.
type ReusedConnError struct{ Err error }

// Error says how the connection ended.
func (e *ReusedConnError) Error() string { return "on a reused connection: " + e.Err.Error() }

// Unwrap returns how the connection ended.
func (e *ReusedConnError) Unwrap() error { return e.Err }

// NotDeliveredError is a request on a reused connection of which the endpoint has read nothing, because it had closed the connection. It can be
// sent again, whatever its method is.
type NotDeliveredError struct{ Err error }

// Error says how the connection ended.
func (e *NotDeliveredError) Error() string { return "not delivered: " + e.Err.Error() }

// Unwrap returns how the connection ended.
func (e *NotDeliveredError) Unwrap() error { return e.Err }

// IsMalformed reports whether [Conns.Send] failed because the endpoint's response is not HTTP/1.1, such as one with two
// different lengths. A connection that ends within the head, or after a 1xx response, is no response, not a malformed one.
func IsMalformed(err error) bool {
	if _, isInvalid := errors.AsType[*InvalidRequestError](err); err == nil || isInvalid || isConnError(err) {
		return false
	}
	if _, ok := errors.AsType[textproto.ProtocolError](err); ok || errors.Is(err, errHeadTooLarge) {
		return true
	}
	text := err.Error()
	return slices.ContainsFunc(malformedErrorTexts, func(part string) bool { return strings.Contains(text, part) })
}

// malformedErrorTexts are parts of net/http's errors about responses, for which it has no types (response.go, transfer.go).
var malformedErrorTexts = []string{
	"malformed HTTP", "malformed MIME header", "Content-Length", "transfer encoding", "trailer key",
}

// isConnError reports whether a request failed because its connection failed.
func isConnError(err error) bool {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, net.ErrClosed) || errors.Is(err, os.ErrDeadlineExceeded) {
		return true
	}
	if _, ok := errors.AsType[syscall.Errno](err); ok {
		return true
	}
	return false
}
