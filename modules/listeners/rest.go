package listeners

import (
	"context"
	"net"
	"net/http"
	"slices"
	"sync"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"go.uber.org/zap"
)

// restTimeout is how long clients of these servers may take to send a request's header, and how long the last requests may take at the end.
const restTimeout = 10 * time.Second

// restServers have servers without TLS, without listener wrappers and without edge_proxy serve sockets of the gate. That is the server of
// Caddy's own redirects to HTTPS: it would be reached only inside of the edge's container.
type restServers struct {
	mu      sync.Mutex
	running []*http.Server // of the configuration that has started last
}

// rest are those of this process.
var rest restServers

// serve has the sockets served that the configuration leaves out, and ends what was served so of the one before. It reports sockets that no
// server takes.
func (r *restServers) serve(ctx caddy.Context, log *zap.Logger) {
	r.mu.Lock()
	defer r.mu.Unlock()
	var next []*http.Server
	servers := httpServers(ctx)
	for _, address := range handed.addresses() {
		if slices.ContainsFunc(servers, func(s *caddyhttp.Server) bool { return listensOn(s, Network, address) }) {
			continue
		}
		i := slices.IndexFunc(servers, func(s *caddyhttp.Server) bool {
			return len(s.TLSConnPolicies) == 0 && s.ListenerWrappersRaw == nil && listensOn(s, "tcp", address)
		})
		if i < 0 {
			log.Error("the gate has a socket that no server of the configuration takes, so that its clients get no response: have a site listen there, or take it out of the gate's --listen",
				zap.String("address", address))
			continue
		}
		ln, err := sockets.Listen(ctx, "tcp", address, net.ListenConfig{})
		if err != nil {
			log.Error("a socket of the gate can't be used", zap.String("address", address), zap.Error(err))
			continue
		}
		s := &http.Server{Handler: servers[i], ReadHeaderTimeout: restTimeout, MaxHeaderBytes: servers[i].MaxHeaderBytes, ConnState: clients.set, ErrorLog: zap.NewStdLog(zap.NewNop())}
		s.SetKeepAlivesEnabled(false) // so that nobody uses a connection that is about to be closed
		go func() { _ = s.Serve(ln) }()
		next = append(next, s)
	}
	before := r.running
	r.running = next
	for _, s := range before {
		go func() {
			ctx, cancel := context.WithTimeout(context.Background(), restTimeout)
			defer cancel()
			_ = s.Shutdown(ctx) // what is left breaks off
		}()
	}
}

// httpServers returns the servers of a configuration.
func httpServers(ctx caddy.Context) (all []*caddyhttp.Server) {
	app, err := ctx.AppIfConfigured("http")
	if err != nil {
		return nil
	}
	for _, s := range app.(*caddyhttp.App).Servers {
		all = append(all, s)
	}
	return all
}

// listensOn reports whether a server listens on an address of a network.
func listensOn(s *caddyhttp.Server, network, address string) bool {
	return slices.ContainsFunc(s.Listen, func(text string) bool {
		a, err := caddy.ParseNetworkAddress(text)
		return err == nil && a.Network == network && a.PortRangeSize() == 1 && a.JoinHostPort(0) == address
	})
}
