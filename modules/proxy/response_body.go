package proxy

import (
	"errors"
	"io"
	"sync"
)

// responseBody is an answer's body that releases its claim when it is closed.
type responseBody struct {
	io.ReadCloser
	once    sync.Once
	release func()
}

// newResponseBody wraps rc. What can be written to, as the connection behind a 101 can, stays so.
func newResponseBody(rc io.ReadCloser, release func()) io.ReadCloser {
	b := &responseBody{ReadCloser: rc, release: release}
	if w, ok := rc.(io.Writer); ok {
		return &upgradedBody{b, w}
	}
	return b
}

// Close closes the body and releases the claim.
func (b *responseBody) Close() error {
	err := b.ReadCloser.Close()
	b.once.Do(b.release)
	return err
}

// upgradedBody is the connection that an upgrade turned the answer's body into.
type upgradedBody struct {
	*responseBody
	io.Writer
}

// CloseWrite ends the direction to the endpoint, so that what it still has to say arrives.
func (u *upgradedBody) CloseWrite() error {
	if half, ok := u.Writer.(interface{ CloseWrite() error }); ok {
		return half.CloseWrite()
	}
	return errors.ErrUnsupported
}
