package upstreamconn

import (
	"errors"
	"io"
	"slices"
	"strconv"
	"sync"
	"time"

	"golang.org/x/net/http/httpguts"
)

const (
	// maxShortBody is the size of the largest body that is sent together with the head.
	maxShortBody = 4 << 10
	// chunkSize is how many bytes of a longer one are sent at a time.
	chunkSize = 32 << 10
	// chunkHead is the room for the length of a chunk.
	chunkHead = 10

	// expectContinueTimeout is how long a body with `Expect: 100-continue` waits for the endpoint's reaction. An endpoint
	// that rejects the body does so at once, and one that ignores the header must not delay its clients by a second.
	expectContinueTimeout = 100 * time.Millisecond
)

// buffer has the head of a request, and a short body.
type buffer struct{ bytes []byte }

var (
	headBuffers  = sync.Pool{New: func() any { return &buffer{make([]byte, 0, 2<<10)} }}
	chunkBuffers = sync.Pool{New: func() any { return &buffer{make([]byte, chunkHead+chunkSize+len("\r\n"))} }}
)

// release returns the buffer of a head to the pool, unless it has grown a lot.
func (b *buffer) release() {
	if cap(b.bytes) <= 2*maxShortBody {
		headBuffers.Put(b)
	}
}

// send writes the request, or begins to; rest is how many bytes of the body are not part of the head, -1: it is sent in chunks. If the endpoint has
// closed the connection, its response may still be read: unsent has the error.
func (c *call) send(head *buffer, rest int64) {
	if rest == 0 {
		_, c.unsent = c.conn.Conn.Write(head.bytes)
		head.release()
		return
	}
	c.sent = make(chan struct{})
	if c.expectsContinue() {
		c.goOn = make(chan bool, 1)
	}
	c.watchSilence()
	go c.sendBody(head, rest)
}

func (c *call) expectsContinue() bool {
	return c.Body != nil && httpguts.HeaderValuesContainsToken(c.header()["Expect"], "100-continue")
}

// readShort appends to the head what is there of a short body, and all of it before an upgrade, so that no part of the request mixes with the
// other protocol. It returns how many bytes the body still has; -1: it is sent in chunks.
func (c *call) readShort(head *buffer) (rest int64, err error) {
	switch c.framing() {
	case noBody:
		return 0, nil
	case chunked:
		return -1, nil
	}
	least := int64(1)
	switch {
	case c.isUpgrade():
		least = c.ContentLength
	case c.ContentLength > maxShortBody, c.expectsContinue():
		return c.ContentLength, nil
	}
	length, start := int(c.ContentLength), len(head.bytes)
	head.bytes = slices.Grow(head.bytes, length)
	n, err := io.ReadAtLeast(c.Body, head.bytes[start:start+length], int(min(least, c.ContentLength)))
	if err != nil || n == length {
		_ = c.Body.Close() // all of it was read, or has failed
	}
	if err != nil {
		return 0, c.failBody(err)
	}
	head.bytes = head.bytes[:start+n]
	return int64(length - n), nil
}

// sendBody writes the head and the body. rest is how many bytes the body still has; -1: it is sent in chunks.
func (c *call) sendBody(head *buffer, rest int64) {
	defer close(c.sent)
	defer c.Body.Close()
	_, c.unsent = c.conn.Conn.Write(head.bytes)
	head.release()
	if c.unsent != nil {
		return
	}
	if c.goOn != nil && !c.awaitContinue() {
		c.unsent = errUnwanted
		return
	}
	chunk := chunkBuffers.Get().(*buffer)
	defer chunkBuffers.Put(chunk)
	if rest < 0 {
		c.unsent = c.sendChunks(chunk.bytes)
	} else {
		c.unsent = c.sendBytes(chunk.bytes, rest)
	}
}

// errUnwanted is why a body was not sent.
var errUnwanted = errors.New("the endpoint has responded without having asked for the body")

// awaitContinue reports whether the endpoint has asked for the body, or not reacted in time.
func (c *call) awaitContinue() bool {
	timer := time.NewTimer(expectContinueTimeout)
	defer timer.Stop()
	select {
	case isWanted := <-c.goOn:
		return isWanted
	case <-timer.C:
		return true
	}
}

// sendBytes sends so many bytes of the body.
func (c *call) sendBytes(buf []byte, rest int64) error {
	for rest > 0 {
		n, err := c.Body.Read(buf[:min(int64(len(buf)), rest)])
		if rest -= int64(n); n > 0 {
			if _, err := c.conn.Conn.Write(buf[:n]); err != nil {
				return err
			}
		}
		if err == io.EOF && rest > 0 {
			err = io.ErrUnexpectedEOF
		}
		if err != nil && rest > 0 {
			return c.failBody(err)
		}
	}
	return nil
}

// sendChunks sends the body in chunks, and the trailers.
func (c *call) sendChunks(buf []byte) error {
	for {
		n, err := c.Body.Read(buf[chunkHead : chunkHead+chunkSize])
		if n > 0 {
			size := strconv.AppendInt(make([]byte, 0, chunkHead), int64(n), 16)
			start := chunkHead - len(size) - len("\r\n")
			copy(buf[start:], size)
			copy(buf[chunkHead-len("\r\n"):], "\r\n")
			end := chunkHead + n + copy(buf[chunkHead+n:], "\r\n")
			if _, err := c.conn.Conn.Write(buf[start:end]); err != nil {
				return err
			}
		}
		switch {
		case err == io.EOF:
			last, err := c.appendTrailers(buf[:0])
			if err != nil {
				return c.failBody(err)
			}
			_, err = c.conn.Conn.Write(last)
			return err
		case err != nil:
			return c.failBody(err)
		}
	}
}

// failBody ends the attempt since its body can't be read.
func (c *call) failBody(err error) error {
	if err == io.EOF {
		err = io.ErrUnexpectedEOF
	}
	c.bodyErr.Store(&err)
	_ = c.conn.Close() // the endpoint must not take the request for a complete one
	return err
}
