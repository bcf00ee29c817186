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
	"github.com/theworklabs/edge/modules/downstream"
	"github.com/theworklabs/edge/modules/edge"
)

// errHijacked is what the transport returns to reverse_proxy after it has hijacked the client's connection and responded
// itself. The handler edge_proxy removes the error.
var errHijacked = errors.New("the client's connection was hijacked")

// hijacker can hijack the client's connection. The handler edge_proxy passes it to the transport in the request's context,
// because reverse_proxy gives a transport no ResponseWriter.
type hijacker struct {
	w http.ResponseWriter
	r *http.Request
}

type hijackerKey struct{}

// withHijacker returns the request with a hijacker if it asks for an upgrade. Over HTTP/2 and HTTP/3 there is no connection to
// hijack: reverse_proxy handles those.
func withHijacker(w http.ResponseWriter, r *http.Request) *http.Request {
	if !filterUpgrade(r) || r.ProtoMajor != 1 {
		return r
	}
	return r.WithContext(context.WithValue(r.Context(), hijackerKey{}, &hijacker{w, r}))
}

// canHijack reports whether the response is an upgrade that the transport performs itself.
func canHijack(req *http.Request, resp *http.Response) bool {
	_, isUpgraded := resp.Body.(*upstreamconn.UpgradedConn)
	_, hasHijacker := req.Context().Value(hijackerKey{}).(*hijacker)
	return isUpgraded && hasHijacker && resp.StatusCode == http.StatusSwitchingProtocols
}

// hijack forwards a 101 response to the client and hands both connections to a tunnel, which belongs to the endpoint and not to
// the configuration. The tunnel releases the claim. hijack returns errHijacked, or the reason of a failure.
func (x *exchange) hijack(req *http.Request, resp *http.Response, claim registry.Claim) error {
	h := req.Context().Value(hijackerKey{}).(*hijacker)
	upgraded := resp.Body.(*upstreamconn.UpgradedConn)
	protocol := resp.Header.Get("Upgrade")
	logEntry := x.newAccessLogEntry(h.r, claim.Endpoint())
	client, fromClient, err := h.hijack(resp.Header, protocol)
	if err != nil {
		return x.failUpgrade(claim, upgraded, err)
	}
	endpoint, fromEndpoint := upgraded.Hijack()
	conns := upstreamconn.Of(claim.Endpoint())
	claim = claim.Upgrade()
	endSpan := x.startTunnelSpan(claim.Endpoint(), protocol)
	conns.Tunnels().Open(tunnel.Config{
		Client: client, Endpoint: endpoint, BufferedFromClient: fromClient, BufferedFromEndpoint: fromEndpoint,
		WebSocket: strings.EqualFold(protocol, "websocket"), IdleTimeout: time.Duration(x.IdleTimeout), Traffic: conns.TrafficCounters(),
		OnClose: func(r tunnel.Report) {
			claim.Release()
			endSpan(r)
			logEntry.write(r)
		},
	})
	if x.maintenanceWindow(h.r) != nil {
		x.service.CloseSockets(edge.MaintenanceCloseReason) // the maintenance began during the upgrade
	}
	return errHijacked
}

// failUpgrade closes the endpoint's connection after a failed upgrade, and returns the error for the client.
func (t *Transport) failUpgrade(claim registry.Claim, upgraded *upstreamconn.UpgradedConn, err error) error {
	address := claim.Endpoint().Address()
	_ = upgraded.Close() // the upgrade failed anyway
	claim.Release()
	return caddyhttp.Error(http.StatusBadGateway, fmt.Errorf("%s at %s: %w", t.Service, address, err))
}

// hijack sends the 101 response through all wrappers of the ResponseWriter, so that the access log, metrics and header
// directives see it. Then it hijacks the connection from the innermost one: the wrappers would keep their memory for as long as
// the socket is open, and hide the type of the connection. It returns the bytes that the client has already sent.
func (h *hijacker) hijack(header http.Header, protocol string) (conn net.Conn, fromClient []byte, err error) {
	copyHeaders(h.w.Header(), header)
	h.w.Header()["Connection"], h.w.Header()["Upgrade"] = []string{"Upgrade"}, []string{protocol}
	h.w.WriteHeader(http.StatusSwitchingProtocols)
	conn, buffered, err := http.NewResponseController(innermostWriter(h.w)).Hijack()
	if err != nil {
		return nil, nil, fmt.Errorf("hijack the client's connection: %w", err)
	}
	conn = downstream.Unwrap(conn)
	if err := buffered.Flush(); err != nil {
		_ = conn.Close() // the client has disconnected
		return nil, nil, fmt.Errorf("send the response to the client: %w", err)
	}
	caddyhttp.SetVar(h.r.Context(), caddyhttp.LogSkipVar, true) // the tunnel logs the request when it is closed
	fromClient, err = buffered.Reader.Peek(buffered.Reader.Buffered())
	return conn, append([]byte(nil), fromClient...), err
}

// copyHeaders copies a response's headers to h, except those that concern only the endpoint's connection.
func copyHeaders(h, response http.Header) {
	var named []string // by the Connection header
	for _, line := range response["Connection"] {
		for name := range strings.SplitSeq(line, ",") {
			named = append(named, http.CanonicalHeaderKey(strings.TrimSpace(name)))
		}
	}
	for name, values := range response {
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

// hopHeaders are the hop-by-hop headers (RFC 9110 section 7.6.1).
var hopHeaders = map[string]bool{
	"Connection": true, "Keep-Alive": true, "Proxy-Connection": true, "Proxy-Authenticate": true, "Proxy-Authorization": true,
	"Te": true, "Trailer": true, "Transfer-Encoding": true, "Upgrade": true,
}

// webSocketHeaderName returns a header's name as RFC 6455 writes it: some clients compare it with case.
func webSocketHeaderName(name string) string {
	if rest, ok := strings.CutPrefix(name, "Sec-Websocket-"); ok {
		return "Sec-WebSocket-" + rest
	}
	return name
}
