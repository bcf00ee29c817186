package listeners

import (
	"context"
	"net"
	"net/http"
	"slices"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"go.uber.org/zap"
)

// restTimeout is how long clients of these servers may take to send a request's header, and how long the last requests may take at the end.
const restTimeout = 10 * time.Second

// ServeRest has servers without TLS that do not use the gate serve the sockets of the gate that nobody else takes. That is the server of
// Caddy's own redirects to HTTPS, which has no listener wrapper: it would be reached only inside of the edge's container.
func ServeRest(ctx caddy.Context, log *zap.Logger) {
	for _, address := range handed.unused() {
		server := serverOf(ctx, address)
		if server == nil {
			continue
		}
		ln, err := sockets.Listen(ctx, "tcp", address, net.ListenConfig{})
		if err != nil {
			log.Error("a socket of the gate can't be used", zap.String("address", address), zap.Error(err))
			continue
		}
		s := &http.Server{
			Handler: server, ReadHeaderTimeout: restTimeout, IdleTimeout: time.Duration(server.IdleTimeout),
			MaxHeaderBytes: server.MaxHeaderBytes, ConnState: clients.set, ErrorLog: zap.NewStdLog(zap.NewNop()),
		}
		go func() { _ = s.Serve(ln) }() // until it is shut down
		ctx.OnCancel(func() {
			last, cancel := context.WithTimeout(context.Background(), restTimeout)
			defer cancel()
			_ = s.Shutdown(last) // what is left breaks off
		})
	}
}

// unused returns the TCP addresses of the gate that no server has taken yet.
func (h *handedSockets) unused() (addresses []string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.lease == nil {
		return nil
	}
	for _, a := range h.lease.Addresses() {
		if a.Network == "tcp" && !slices.Contains(h.used, a.Address) {
			addresses = append(addresses, a.Address)
		}
	}
	return addresses
}

// serverOf returns the server without TLS that listens on an address, or nil.
func serverOf(ctx caddy.Context, address string) *caddyhttp.Server {
	loaded, err := ctx.AppIfConfigured("http")
	if err != nil {
		return nil
	}
	for _, server := range loaded.(*caddyhttp.App).Servers {
		if len(server.TLSConnPolicies) > 0 {
			continue
		}
		for _, text := range server.Listen {
			a, err := caddy.ParseNetworkAddress(text)
			if err == nil && a.Network == "tcp" && a.PortRangeSize() == 1 && a.JoinHostPort(0) == address {
				return server
			}
		}
	}
	return nil
}
