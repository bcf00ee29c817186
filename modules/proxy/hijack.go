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

	"github.com/theworklabs/edge/internal/registry"
	"github.com/theworklabs/edge/internal/tunnel"
	"github.com/theworklabs/edge/internal/upstreamconn"
	"github.com/theworklabs/edge/modules/edge"
)

// errHijacked is what the transport returns to reverse_proxy when it has answered the client itself: the handler in
// front makes it no error.
var errHijacked = errors.New("the client's connection was taken over")

// hijacker is what the handler in front leaves for the transport, which reverse_proxy gives no ResponseWriter.
type hijacker struct {
	w         http.ResponseWriter
	r         *http.Request
	startedAt time.Time
}

type hijackerKey struct{}

// withHijacker returns the request with what it takes to take its connection over, if it asks for another protocol. Over HTTP/2
// and HTTP/3 there is no connection to take over: reverse_proxy handles these.
func withHijacker(w http.ResponseWriter, r *http.Request) *http.Request {
	if !filterUpgrade(r) || r.ProtoMajor != 1 {
		return r
	}
	return r.WithContext(context.WithValue(r.Context(), hijackerKey{}, &hijacker{w, r, time.Now()}))
}

// canHijack reports whether the answer is a change of protocols that the transport is to carry out.
func canHijack(req *http.Request, resp *http.Response) bool {
	_, upgraded := resp.Body.(*upstreamconn.UpgradedConn)
	_, offered := req.Context().Value(hijackerKey{}).(*hijacker)
	return upgraded && offered && resp.StatusCode == http.StatusSwitchingProtocols
}

// hijack sends a 101 on to the client and hands both connections to a tunnel, which belongs to the endpoint and not to
// the configuration. It returns errHijacked, or why it could not be done. The claim is the tunnel's from now on.
func (t *Transport) hijack(req *http.Request, resp *http.Response, claim registry.Claim) error {
	to := req.Context().Value(hijackerKey{}).(*hijacker)
	upgraded := resp.Body.(*upstreamconn.UpgradedConn)
	got := resp.Header.Get("Upgrade")
	entry := t.newAccessLogEntry(to, claim.Endpoint())
	client, early, err := to.hijack(resp.Header, got)
	if err != nil {
		return t.failUpgrade(claim, upgraded, err)
	}
	endpoint, ahead := upgraded.Hijack()
	l := claim.Endpoint().Conns().(*upstreamconn.Conns)
	claim = claim.Upgrade()
	l.Tunnels().Open(tunnel.Config{
		Client: client, Endpoint: endpoint, BufferedFromClient: early, BufferedFromEndpoint: ahead,
		WebSocket: strings.EqualFold(got, "websocket"), IdleTimeout: time.Duration(t.IdleTimeout), Traffic: l.TrafficCounters(),
		OnClose: func(r tunnel.Report) {
			claim.Release()
			entry.write(r)
		},
	})
	if t.maintenanceWindow(to.r) != nil {
		t.service.CloseSockets(edge.MaintenanceCloseReason) // it began while this one was on its way
	}
	return errHijacked
}

// failUpgrade ends a change of protocols that went wrong.
func (t *Transport) failUpgrade(claim registry.Claim, upgraded *upstreamconn.UpgradedConn, err error) error {
	address := claim.Endpoint().Address()
	_ = upgraded.Close() // what is left of it is of no use
	claim.Release()
	return caddyhttp.Error(http.StatusBadGateway, fmt.Errorf("%s at %s: %w", t.Service, address, err))
}

// hijack sends the 101 through all that is around the ResponseWriter, so that the access log, metrics and header
// directives see it, and then takes the connection from the innermost one: those around it would keep their memory for as
// long as the socket lives, and hide what kind of connection it is. It returns what the client has sent already.
func (to *hijacker) hijack(answer http.Header, protocol string) (conn net.Conn, early []byte, err error) {
	copyHeaders(to.w.Header(), answer)
	to.w.Header()["Connection"], to.w.Header()["Upgrade"] = []string{"Upgrade"}, []string{protocol}
	to.w.WriteHeader(http.StatusSwitchingProtocols)
	conn, buffered, err := http.NewResponseController(innermostWriter(to.w)).Hijack()
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

// copyHeaders adds an answer's headers to those that are set already, but for what is about the endpoint's connection.
func copyHeaders(h, answer http.Header) {
	var named []string
	for _, line := range answer["Connection"] {
		for name := range strings.SplitSeq(line, ",") {
			named = append(named, http.CanonicalHeaderKey(strings.TrimSpace(name)))
		}
	}
	for name, values := range answer {
		switch {
		case hopHeaders[name] || slices.Contains(named, name):
		case name == "Set-Cookie":
			h[name] = append(h[name], values...)
		default:
			h[webSocketHeaderName(name)] = values
		}
	}
}

func innermostWriter(w http.ResponseWriter) http.ResponseWriter {
	for {
		wrapper, ok := w.(interface{ Unwrap() http.ResponseWriter })
		if !ok {
			return w
		}
		w = wrapper.Unwrap()
	}
}

// hopHeaders are the headers that are about one connection only (RFC 9110 section 7.6.1).
var hopHeaders = map[string]bool{
	"Connection": true, "Keep-Alive": true, "Proxy-Connection": true, "Proxy-Authenticate": true, "Proxy-Authorization": true,
	"Te": true, "Trailer": true, "Transfer-Encoding": true, "Upgrade": true,
}

// webSocketHeaderName returns a header's name as RFC 6455 spells it: some clients don't know that case makes no difference.
func webSocketHeaderName(name string) string {
	if rest, ok := strings.CutPrefix(name, "Sec-Websocket-"); ok {
		return "Sec-WebSocket-" + rest
	}
	return name
}
