package proxy

import (
	"errors"
	"io"
	"sync"
	"sync/atomic"

	"github.com/theworklabs/edge/internal/upstreamconn"
)

// responseBody is the body of a response that releases its claim when it is closed.
type responseBody struct {
	io.ReadCloser
	broken  atomic.Pointer[error] // why a read has failed
	once    sync.Once
	release func(err error)
}

// newResponseBody wraps rc. The result is a Writer if rc is one, as the connection after a 101 is. release gets the error because of which the
// response is incomplete, or nil.
func newResponseBody(rc io.ReadCloser, release func(err error)) io.ReadCloser {
	b := &responseBody{ReadCloser: rc, release: release}
	if w, ok := rc.(io.Writer); ok {
		return &upgradedBody{b, w}
	}
	return b
}

// Read implements io.Reader.
func (b *responseBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	if err != nil && err != io.EOF {
		b.broken.CompareAndSwap(nil, &err)
	}
	return n, err
}

// CopyArrived implements [upstreamconn.RestCopier].
func (b *responseBody) CopyArrived(w io.ReaderFrom) (n int64, fromEndpoint bool, err error) {
	rest, ok := b.ReadCloser.(upstreamconn.RestCopier)
	if !ok {
		return 0, false, nil
	}
	n, fromEndpoint, err = rest.CopyArrived(w)
	if fromEndpoint {
		b.broken.CompareAndSwap(nil, &err)
	}
	return n, fromEndpoint, err
}

// Close closes the body and releases the claim.
func (b *responseBody) Close() error {
	err := b.ReadCloser.Close()
	b.once.Do(func() {
		var broken error
		if e := b.broken.Load(); e != nil {
			broken = *e
		}
		b.release(broken)
	})
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
