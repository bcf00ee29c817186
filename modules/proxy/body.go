package proxy

import (
	"errors"
	"io"
	"sync"
)

// body is an answer's body that releases its claim when it is closed.
type body struct {
	io.ReadCloser
	once    sync.Once
	release func()
}

// newBody wraps rc. What can be written to, as the connection behind a 101 can, stays so.
func newBody(rc io.ReadCloser, release func()) io.ReadCloser {
	b := &body{ReadCloser: rc, release: release}
	if w, ok := rc.(io.Writer); ok {
		return &upgraded{b, w}
	}
	return b
}

// Close closes the body and releases the claim.
func (b *body) Close() error {
	err := b.ReadCloser.Close()
	b.once.Do(b.release)
	return err
}

// upgraded is the connection that an upgrade turned the answer's body into.
type upgraded struct {
	*body
	io.Writer
}

// CloseWrite ends the direction to the endpoint, so that what it still has to say arrives.
func (u *upgraded) CloseWrite() error {
	if half, ok := u.Writer.(interface{ CloseWrite() error }); ok {
		return half.CloseWrite()
	}
	return errors.ErrUnsupported
}
