package proxy

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/theworklabs/edge/internal/link"
	"github.com/theworklabs/edge/internal/registry"
	"github.com/theworklabs/edge/internal/tunnel"
	"github.com/theworklabs/edge/modules/edge"
)

// errTakenOver is what the transport returns to reverse_proxy when it has answered the client itself: the handler in
// front makes it no error.
var errTakenOver = errors.New("the client's connection was taken over")

// takeover is what the handler in front leaves for the transport, which reverse_proxy gives no ResponseWriter.
type takeover struct {
	w     http.ResponseWriter
	r     *http.Request
	began time.Time
}

type takeoverKey struct{}

// offer returns the request with what it takes to take its connection over, if it asks for another protocol. Over HTTP/2
// and HTTP/3 there is no connection to take over: reverse_proxy handles these.
func offer(w http.ResponseWriter, r *http.Request) *http.Request {
	if !limitUpgrade(r) || r.ProtoMajor != 1 {
		return r
	}
	return r.WithContext(context.WithValue(r.Context(), takeoverKey{}, &takeover{w, r, time.Now()}))
}

// takesOver reports whether the answer is a change of protocols that the transport is to carry out.
func takesOver(req *http.Request, resp *http.Response) bool {
	_, upgraded := resp.Body.(*link.Upgraded)
	_, offered := req.Context().Value(takeoverKey{}).(*takeover)
	return upgraded && offered && resp.StatusCode == http.StatusSwitchingProtocols
}

// takeOver sends a 101 on to the client and hands both connections to a tunnel, which belongs to the endpoint and not to
// the configuration. It returns errTakenOver, or why it could not be done. The claim is the tunnel's from now on.
func (t *Transport) takeOver(req *http.Request, resp *http.Response, claim registry.Claim) error {
	to := req.Context().Value(takeoverKey{}).(*takeover)
	upgraded := resp.Body.(*link.Upgraded)
	got := resp.Header.Get("Upgrade")
	entry := t.newEntry(to, claim.Endpoint())
	client, early, err := to.accept(resp.Header, got)
	if err != nil {
		return t.botched(claim, upgraded, err)
	}
	endpoint, ahead := upgraded.Take()
	l := claim.Endpoint().Conns().(*link.Link)
	claim = claim.Upgrade()
	l.Tunnels().Open(tunnel.Config{
		Client: client, Endpoint: endpoint, BufferedFromClient: early, BufferedFromEndpoint: ahead,
		WebSocket: strings.EqualFold(got, "websocket"), IdleTimeout: time.Duration(t.IdleTimeout), Traffic: l.Counters(),
		OnClose: func(r tunnel.Report) {
			claim.Release()
			entry.write(r)
		},
	})
	if t.closure(to.r) != nil {
		t.service.CloseSockets(edge.MaintenanceCloseReason) // it began while this one was on its way
	}
	return errTakenOver
}

// botched ends a change of protocols that went wrong.
func (t *Transport) botched(claim registry.Claim, upgraded *link.Upgraded, err error) error {
	address := claim.Endpoint().Address()
	_ = upgraded.Close() // what is left of it is of no use
	claim.Release()
	return caddyhttp.Error(http.StatusBadGateway, fmt.Errorf("%s at %s: %w", t.Service, address, err))
}

// accept sends the 101 through all that is around the ResponseWriter, so that the access log, metrics and header
// directives see it, and then takes the connection from the innermost one: those around it would keep their memory for as
// long as the socket lives, and hide what kind of connection it is. It returns what the client has sent already.
func (to *takeover) accept(answer http.Header, protocol string) (conn net.Conn, early []byte, err error) {
	passOn(to.w.Header(), answer)
	to.w.Header()["Connection"], to.w.Header()["Upgrade"] = []string{"Upgrade"}, []string{protocol}
	to.w.WriteHeader(http.StatusSwitchingProtocols)
	conn, buffered, err := http.NewResponseController(innermost(to.w)).Hijack()
	if err != nil {
		return nil, nil, fmt.Errorf("take over the client's connection: %w", err)
	}
	if err := buffered.Flush(); err != nil {
		_ = conn.Close() // the client is gone
		return nil, nil, fmt.Errorf("answer the client: %w", err)
	}
	caddyhttp.SetVar(to.r.Context(), caddyhttp.LogSkipVar, true) // it is logged when the socket ends
	early, err = buffered.Reader.Peek(buffered.Reader.Buffered())
	return conn, append([]byte(nil), early...), err
}

// passOn adds an answer's headers to those that are set already, but for what is about the endpoint's connection.
func passOn(h, answer http.Header) {
	var named []string
	for _, line := range answer["Connection"] {
		for name := range strings.SplitSeq(line, ",") {
			named = append(named, http.CanonicalHeaderKey(strings.TrimSpace(name)))
		}
	}
	for name, values := range answer {
		switch {
		case hopByHop[name] || slices.Contains(named, name):
		case name == "Set-Cookie":
			h[name] = append(h[name], values...)
		default:
			h[spelling(name)] = values
		}
	}
}

func innermost(w http.ResponseWriter) http.ResponseWriter {
	for {
		wrapper, ok := w.(interface{ Unwrap() http.ResponseWriter })
		if !ok {
			return w
		}
		w = wrapper.Unwrap()
	}
}

// hopByHop are the headers that are about one connection only (RFC 9110 section 7.6.1).
var hopByHop = map[string]bool{
	"Connection": true, "Keep-Alive": true, "Proxy-Connection": true, "Proxy-Authenticate": true, "Proxy-Authorization": true,
	"Te": true, "Trailer": true, "Transfer-Encoding": true, "Upgrade": true,
}

// spelling returns a header's name as RFC 6455 spells it: some clients don't know that case makes no difference.
func spelling(name string) string {
	if rest, ok := strings.CutPrefix(name, "Sec-Websocket-"); ok {
		return "Sec-WebSocket-" + rest
	}
	return name
}
