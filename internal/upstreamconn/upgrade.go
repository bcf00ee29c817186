package upstreamconn

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/textproto"
	"time"

	"github.com/theworklabs/edge/internal/registry"
	"github.com/theworklabs/edge/internal/tunnel"
)

// UpgradedConn is the body of a 101 response: the connection, which the caller must close.
type UpgradedConn struct {
	*conn
	reader *bufio.Reader
}

// Read returns the bytes that were read ahead first, then reads from the connection.
func (u *UpgradedConn) Read(p []byte) (int, error) { return u.reader.Read(p) }

// Hijack returns the connection itself, and the bytes that the endpoint sent right after its response. The UpgradedConn must
// not be used any more.
func (u *UpgradedConn) Hijack() (net.Conn, []byte) {
	n := u.reader.Buffered()
	if n == 0 {
		return u.conn, nil
	}
	ahead := make([]byte, n)
	_, _ = io.ReadFull(u.reader, ahead) // the bytes are in memory
	return u.conn, ahead
}

// max1xxResponses is how many 1xx responses may come before the final one.
const max1xxResponses = 10

// maxResponseHeaderBytes is how many bytes the heads of all responses may have, as in net/http's transport.
const maxResponseHeaderBytes = 10 << 20

// upgrade sends a request that asks for another protocol, on its own connection, and returns the head of the response. It
// writes the whole request before it reads the response, so that no part of the request mixes with the other protocol. The
// body must be small.
func (c *Conns) upgrade(req *http.Request) (*http.Response, error) {
	ctx := req.Context()
	raw, err := c.dial(ctx, "tcp", "")
	switch {
	case err != nil && ctx.Err() != nil:
		return nil, ctx.Err() // the request was canceled, which says nothing about the endpoint
	case err != nil:
		return nil, err
	}
	attemptOf(ctx).gotConn(httptrace.GotConnInfo{Conn: raw})
	dialed := raw.(*conn)
	stop := context.AfterFunc(ctx, func() { _ = dialed.Close() })
	fail := func(err error) (*http.Response, error) {
		stop()
		_ = dialed.Close()
		if ctxErr := ctx.Err(); ctxErr != nil {
			return nil, ctxErr
		}
		return nil, err
	}
	if err := req.Write(dialed.Conn); err != nil { // not to dialed: its Write would wait until the response is read
		if !isConnError(err) {
			return fail(&InvalidRequestError{err})
		}
		return fail(fmt.Errorf("write error: %w", err))
	}
	head := &io.LimitedReader{R: dialed, N: maxResponseHeaderBytes}
	ahead := bufio.NewReader(head)
	resp, err := readResponse(ctx, ahead, req)
	if err != nil {
		return fail(err)
	}
	head.N = math.MaxInt64
	if resp.StatusCode == http.StatusSwitchingProtocols {
		stop()
		resp.Body = &UpgradedConn{dialed, ahead}
		return resp, nil
	}
	resp.Body = &nonUpgradeBody{resp.Body, func() {
		stop()
		_ = dialed.Close()
	}}
	return resp, nil
}

// readResponse reads the head of the final response, and passes 1xx responses to the request's trace.
func readResponse(ctx context.Context, from *bufio.Reader, req *http.Request) (*http.Response, error) {
	trace := httptrace.ContextClientTrace(ctx)
	for range max1xxResponses {
		resp, err := http.ReadResponse(from, req)
		if err != nil {
			return nil, err
		}
		if resp.StatusCode/100 != 1 || resp.StatusCode == http.StatusSwitchingProtocols {
			return resp, nil
		}
		if trace != nil && trace.Got1xxResponse != nil {
			if err := trace.Got1xxResponse(resp.StatusCode, textproto.MIMEHeader(resp.Header)); err != nil {
				return nil, err
			}
		}
	}
	return nil, errTooMany1xx
}

var errTooMany1xx = errors.New("too many 1xx responses")

// nonUpgradeBody is the body of a response other than 101. Its connection is not reused.
type nonUpgradeBody struct {
	io.ReadCloser
	closeConn func()
}

// Close closes the connection.
func (b *nonUpgradeBody) Close() error {
	err := b.ReadCloser.Close()
	b.closeConn()
	return err
}

// Tunnels returns the group of the endpoint's tunnels. The caller adds upgraded connections to it.
func (c *Conns) Tunnels() *tunnel.Group { return c.tunnels }

// TrafficCounters returns the counters of the tunnels and their bytes.
func (c *Conns) TrafficCounters() *tunnel.Traffic { return &c.traffic }

// Drain closes the tunnels, spread over window, and those that open later. reason is for the access log.
func (c *Conns) Drain(window time.Duration, reason string) { c.tunnels.Drain(window, reason) }

// Resume ends a drain: the tunnels that are still open stay open.
func (c *Conns) Resume() { c.tunnels.Resume() }

// CloseExisting closes the tunnels that are open now, spread over window.
func (c *Conns) CloseExisting(window time.Duration, reason string) {
	c.tunnels.CloseExisting(window, reason)
}

// Traffic returns how many bytes the tunnels have carried.
func (c *Conns) Traffic() registry.Traffic {
	return registry.Traffic{
		FromClients:  uint64(c.traffic.FromClient.Load()),
		FromEndpoint: uint64(c.traffic.FromEndpoint.Load()),
	}
}
