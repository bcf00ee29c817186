package upstreamconn

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptrace"
	"net/textproto"
	"sync/atomic"
	"time"
)

// maxResponseHeaderBytes is how many bytes the heads of all responses to a request may have, as in net/http's transport.
const maxResponseHeaderBytes = 10 << 20

// call is an attempt on its connection, until the response is read. It is the body of the response.
//
// The goroutine of the caller writes the request and reads the response. Only a body that is not there at once is sent by a goroutine of its
// own, since the endpoint may respond before it has all of it.
type call struct {
	*Attempt
	conn    *conn
	limit   int         // of idle connections, when this one is done
	unwatch func() bool // ends that the context closes the connection

	sent     chan struct{}         // closed when the goroutine of the body ends; nil: there is none
	goOn     chan bool             // whether the endpoint asks for the body; nil: it need not
	unsent   error                 // why the request was not written: the endpoint may have responded before. Written until sent is closed
	bodyErr  atomic.Pointer[error] // why the body could not be read
	canReuse bool                  // the connection, after the response
	isDone   atomic.Bool
	before   tcpState      // of the connection, for a request that must not be sent twice
	body     io.ReadCloser // of the response
	left     int64         // bytes of it that were not read; below zero: nobody knows
	isCopied bool          // some of it was copied by the kernel
	silence  *time.Timer   // looks whether the endpoint is silent; nil: the kernel does
}

// do sends the request, and returns the head of the response.
func (c *call) do(head *buffer) (*http.Response, error) {
	c.watch()
	rest, err := c.readShort(head)
	if err == nil && (c.Body != nil && !c.conn.canBeUsed() || !c.prepareDelivery()) { // the endpoint did not wait for the client
		err = c.redial()
	}
	if err != nil {
		return nil, c.fail(err)
	}
	c.conn.headLeft = maxResponseHeaderBytes
	c.send(head, rest)
	resp, err := c.readHead()
	if err != nil {
		return nil, c.fail(err)
	}
	c.conn.headLeft = -1
	return c.accept(resp), nil
}

// watch closes the connection when the context ends.
func (c *call) watch() { c.unwatch = context.AfterFunc(c.Context, c.conn.abort) }

// redial replaces the connection. Nothing was sent on it.
func (c *call) redial() error {
	c.unwatch()
	_ = c.conn.Close() // the endpoint has closed it, too
	dialed, err := c.conn.owner.dial(c.Context, c.DialTimeout)
	if err != nil {
		return err
	}
	c.conn, c.before = dialed, tcpState{}
	c.connected(false)
	c.watch()
	return nil
}

// readHead reads the head of the final response, and passes 1xx responses to the request's trace.
func (c *call) readHead() (*http.Response, error) {
	for {
		resp, err := http.ReadResponse(c.conn.reader, c.Request)
		if err != nil {
			return nil, err
		}
		switch {
		case resp.StatusCode/100 != 1 || resp.StatusCode == http.StatusSwitchingProtocols:
			c.askForBody(false)
			return resp, nil
		case resp.StatusCode == http.StatusContinue:
			c.askForBody(true)
		}
		if err := c.pass(resp); err != nil {
			return nil, err
		}
	}
}

// pass passes a 1xx response on.
func (c *call) pass(resp *http.Response) error {
	if c.Interim != nil {
		return c.Interim(resp.StatusCode, resp.Header)
	}
	if trace := httptrace.ContextClientTrace(c.Context); trace != nil && trace.Got1xxResponse != nil {
		return trace.Got1xxResponse(resp.StatusCode, textproto.MIMEHeader(resp.Header))
	}
	return nil
}

// askForBody tells the goroutine of the body that the endpoint wants it, or has responded without it.
func (c *call) askForBody(isWanted bool) {
	if c.goOn == nil {
		return
	}
	select {
	case c.goOn <- isWanted:
	default: // the first answer counts
	}
}

// accept makes the call the body of its response.
func (c *call) accept(resp *http.Response) *http.Response {
	if resp.StatusCode == http.StatusSwitchingProtocols {
		if c.isUpgrade() && c.isSent() && c.unwatch() {
			c.conn.prepareTunnel()
			resp.Body = &UpgradedConn{c.conn}
			return resp
		}
		resp.Close = true // what follows is not HTTP
	}
	c.canReuse = !resp.Close
	if resp.Body == http.NoBody {
		c.finish(true)
		return resp
	}
	c.body, c.left, resp.Body = resp.Body, resp.ContentLength, c
	return resp
}

// fail closes the connection, and returns the error as the type that [Conns.Send] documents.
func (c *call) fail(err error) error {
	isRefused := isConnError(err) && c.Context.Err() == nil && c.isRefused()
	c.finish(false)
	if ctxErr := c.Context.Err(); ctxErr != nil {
		return ctxErr
	}
	if bodyErr := c.bodyErr.Load(); bodyErr != nil {
		return *bodyErr
	}
	if _, isDialError := errors.AsType[*DialError](err); isDialError || !isConnError(err) {
		return err
	}
	err = c.conn.owner.explain(err)
	if unsent := c.writeErr(); unsent != nil && err != errAborted {
		err = fmt.Errorf("%w, after %w", err, unsent)
	}
	switch {
	case isRefused:
		return &NotDeliveredError{err}
	case c.isReused:
		return &ReusedConnError{err}
	}
	return err
}

// Read reads the body of the response.
func (c *call) Read(p []byte) (int, error) {
	var n int
	var err error
	if c.isCopied {
		n, err = c.readRest(p)
	} else {
		n, err = c.body.Read(p)
	}
	c.left -= int64(n)
	switch err {
	case nil:
		return n, nil
	case io.EOF:
		c.finish(true) // from now on, the body reads no more
		return n, err
	}
	c.finish(false)
	if ctxErr := c.Context.Err(); ctxErr != nil {
		return n, ctxErr
	}
	return n, c.conn.owner.explain(err)
}

// Close closes the connection, unless all of the response was read.
func (c *call) Close() error {
	c.finish(false)
	return nil
}

// finish ends the call: it keeps the connection for the next request if the response is complete and the request was.
func (c *call) finish(isComplete bool) {
	if c.isDone.Swap(true) {
		return
	}
	c.endSilenceWatch()
	if c.unwatch() && isComplete && c.canReuse && c.isSent() {
		c.conn.owner.putIdle(c.conn, c.limit)
	} else {
		_ = c.conn.Close() // it may be closed already
	}
}

// isSent reports whether the whole request was written.
func (c *call) isSent() bool { return c.hasEndedSending() && c.unsent == nil }

// writeErr returns why the request was not written, as far as that is known.
func (c *call) writeErr() error {
	if c.hasEndedSending() {
		return c.unsent
	}
	return nil
}

func (c *call) hasEndedSending() bool {
	if c.sent == nil {
		return true
	}
	select {
	case <-c.sent:
		return true
	default:
		return false
	}
}
