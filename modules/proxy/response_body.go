package proxy

import (
	"errors"
	"io"
	"sync"
)

// responseBody is the body of a response that releases its claim when it is closed.
type responseBody struct {
	io.ReadCloser
	once    sync.Once
	release func()
}

// newResponseBody wraps rc. The result is a Writer if rc is one, as the connection after a 101 is.
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

// upgradedBody is the body of a 101 response, which is the upgraded connection.
type upgradedBody struct {
	*responseBody
	io.Writer
}

// CloseWrite closes the direction to the endpoint, so that the rest of what the endpoint sends arrives.
func (u *upgradedBody) CloseWrite() error {
	if half, ok := u.Writer.(interface{ CloseWrite() error }); ok {
		return half.CloseWrite()
	}
	return errors.ErrUnsupported
}
