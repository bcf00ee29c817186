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

// UpgradedConn is the body of a 101 answer: the connection, which is the caller's to close.
type UpgradedConn struct {
	*conn
	reader *bufio.Reader
}

// Read reads what was read ahead first, then from the connection.
func (u *UpgradedConn) Read(p []byte) (int, error) { return u.reader.Read(p) }

// Hijack returns the connection itself, and what the endpoint has sent right behind its answer. The Upgraded is not to be
// used any more.
func (u *UpgradedConn) Hijack() (net.Conn, []byte) {
	n := u.reader.Buffered()
	if n == 0 {
		return u.conn, nil
	}
	ahead := make([]byte, n)
	_, _ = io.ReadFull(u.reader, ahead) // it is in memory
	return u.conn, ahead
}

// max1xxResponses is how many 1xx answers may come before the final one.
const max1xxResponses = 10

// maxResponseHeaderBytes is how many bytes the heads of all answers may have, as in net/http's transport.
const maxResponseHeaderBytes = 10 << 20

// upgrade sends a request that asks for another protocol, on a connection of its own, and returns the answer's head. The whole
// request is on its way before the answer is read, so that nothing of it can mix with the other protocol; its body must be
// small.
func (l *Conns) upgrade(req *http.Request) (*http.Response, error) {
	ctx := req.Context()
	raw, err := l.dial(ctx, "tcp", "")
	switch {
	case err != nil && ctx.Err() != nil:
		return nil, ctx.Err() // the request ended, which says nothing about the endpoint
	case err != nil:
		return nil, err
	}
	c := raw.(*conn)
	stop := context.AfterFunc(ctx, func() { _ = c.Close() })
	fail := func(err error) (*http.Response, error) {
		stop()
		_ = c.Close()
		if ctxErr := ctx.Err(); ctxErr != nil {
			return nil, ctxErr
		}
		return nil, err
	}
	if err := req.Write(c.Conn); err != nil { // not c: its Write would wait for the answer to be read
		if !isConnError(err) {
			return fail(&InvalidRequestError{err})
		}
		return fail(fmt.Errorf("write error: %w", err))
	}
	head := &io.LimitedReader{R: c, N: maxResponseHeaderBytes}
	ahead := bufio.NewReader(head)
	resp, err := readResponse(ctx, ahead, req)
	if err != nil {
		return fail(err)
	}
	head.N = math.MaxInt64
	if resp.StatusCode == http.StatusSwitchingProtocols {
		stop()
		resp.Body = &UpgradedConn{c, ahead}
		return resp, nil
	}
	resp.Body = &nonUpgradeBody{resp.Body, func() {
		stop()
		_ = c.Close()
	}}
	return resp, nil
}

// readResponse reads the head of the final answer, and hands those before it to the request's trace.
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

var errTooMany1xx = errors.New("too many 1xx answers")

// nonUpgradeBody is the body of an answer that is no upgrade. Its connection is not used again.
type nonUpgradeBody struct {
	io.ReadCloser
	closeConn func()
}

// Close closes the connection.
func (r *nonUpgradeBody) Close() error {
	err := r.ReadCloser.Close()
	r.closeConn()
	return err
}

// Tunnels returns the group of the upgraded connections to the endpoint, to which the caller adds.
func (l *Conns) Tunnels() *tunnel.Group { return l.tunnels }

// TrafficCounters returns what counts the tunnels and their bytes.
func (l *Conns) TrafficCounters() *tunnel.Traffic { return &l.traffic }

// Drain closes the tunnels, spread over window.
func (l *Conns) Drain(window time.Duration, reason string) { l.tunnels.Drain(window, reason) }

// Resume lets the tunnels that are left stay.
func (l *Conns) Resume() { l.tunnels.Resume() }

// CloseExisting closes the tunnels that are open now, spread over window.
func (l *Conns) CloseExisting(window time.Duration, reason string) {
	l.tunnels.CloseExisting(window, reason)
}

// Traffic returns the bytes that the tunnels have carried.
func (l *Conns) Traffic() registry.Traffic {
	return registry.Traffic{
		FromClients:  uint64(l.traffic.FromClient.Load()),
		FromEndpoint: uint64(l.traffic.FromEndpoint.Load()),
	}
}
