package listeners

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"github.com/caddyserver/caddy/v2/modules/caddyevents"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/theworklabs/edge/internal/keepconn"
)

func init() {
	caddy.RegisterModule(KeepConnections{})
}

// KeepConnections is a listener wrapper that keeps idle HTTP/1.1 connections, and the listening sockets, open through a reload. It has to
// come after `tls`.
//
// Without it, a reload closes them, and a client that sends a request at the same instant gets no response.
type KeepConnections struct {
	server   *caddyhttp.Server
	settings string // what two servers must have in common, as JSON
}

// hub has the listeners of all configurations.
var hub keepconn.Hub

// clients are the connections of all servers with keep_connections.
var clients connections

// CaddyModule returns the Caddy module information.
func (KeepConnections) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "caddy.listeners.keep_connections", New: func() caddy.Module { return new(KeepConnections) }}
}

// Provision follows the states of the server's connections, and has its listening sockets shared with the next configuration.
func (k *KeepConnections) Provision(ctx caddy.Context) error {
	server, ok := ctx.Value(caddyhttp.ServerCtxKey).(*caddyhttp.Server)
	if !ok {
		return fmt.Errorf("keep_connections is for the servers of the app http")
	}
	shareSockets(server)
	// They are complete only before Caddy provisions them, which is after this.
	settings, err := json.Marshal([]any{server.Listen, server.Protocols, server.ListenProtocols, server.ListenerWrappersRaw, server.TLSConnPolicies})
	if err != nil {
		return err
	}
	k.server, k.settings = server, string(settings)
	for _, policy := range server.TLSConnPolicies {
		if policy.ClientAuthentication != nil { // the files that it names may have other content now
			k.settings = fmt.Sprintf("%p", k)
		}
	}
	server.RegisterConnState(hub.SetState)
	server.RegisterConnState(clients.set)
	if os.Getenv(GateVariable) != "" {
		noteClients(server)
	}
	return subscribe(ctx)
}

// UseGate has the server that is being provisioned use the sockets of the gate, if there is one, also without keep_connections: it would
// listen in a container that publishes no ports. Call it from the Provision method of a handler.
func UseGate(ctx caddy.Context) {
	server, ok := ctx.Value(caddyhttp.ServerCtxKey).(*caddyhttp.Server)
	if !ok || os.Getenv(GateVariable) == "" || !shareSockets(server) {
		return
	}
	server.RegisterConnState(clients.set)
	noteClients(server)
}

// subscribe follows the start and the end of the configuration, unless the app edge does, which knows more of both.
func subscribe(ctx caddy.Context) error {
	if _, err := ctx.AppIfConfigured("edge"); err == nil {
		return nil
	}
	app, err := ctx.App("events")
	if err != nil {
		return err
	}
	events := app.(*caddyevents.App)
	return errors.Join(
		events.On("started", handlerFunc(func(context.Context) { Ready(ctx) })),
		events.On("stopping", handlerFunc(func(ctx context.Context) {
			if caddy.Exiting() {
				Leave(ctx, LeaveOptions{Window: exitWindow, Quiet: ExitQuiet})
			}
		})),
	)
}

// exitWindow is how long clients have to use their connections once more, in a configuration without the app edge.
const exitWindow = 10 * time.Second

// handlerFunc is a function that handles an event of Caddy.
type handlerFunc func(context.Context)

// Handle implements caddyevents.Handler.
func (f handlerFunc) Handle(ctx context.Context, _ caddy.Event) error {
	f(ctx)
	return nil
}

// shareSockets has Caddy open the server's TCP sockets by [Network].
//
// An address with this network in the Caddyfile (`default_bind edge/`) would do the same, but Caddy also takes it for the host on which the
// challenges of certificate authorities are answered, and fails.
//
// shareSockets reports whether it has changed any.
func shareSockets(server *caddyhttp.Server) (changed bool) {
	for i, text := range server.Listen {
		network, host, port, err := caddy.SplitNetworkAddress(text) // Caddy reports the error later
		// Port 0 is another port for each server.
		if err == nil && (network == "" || network == "tcp") && port != "" && port != "0" {
			server.Listen[i] = caddy.JoinNetworkAddress(Network, host, port)
			changed = true
		}
	}
	return changed
}

// WrapListener implements caddy.ListenerWrapper.
func (k *KeepConnections) WrapListener(ln net.Listener) net.Listener {
	return hub.Wrap(ln, keepconn.Options{
		Key:              k.key(ln),
		IdleTimeout:      time.Duration(k.server.IdleTimeout),
		HandshakeTimeout: handshakeTimeout(k.server),
	})
}

// key returns what two configurations must have in common: the addresses, the listener wrappers and the settings of TLS. A connection whose
// client has shown no certificate must not move to a configuration that demands one, nor one whose client's address comes from a proxy
// that is not trusted any more. With client certificates, nothing moves.
func (k *KeepConnections) key(ln net.Listener) string {
	return fmt.Sprintf("%s %T %s", ln.Addr(), ln, k.settings)
}

// handshakeTimeout returns how long net/http lets a handshake take: the shortest of the server's timeouts.
func handshakeTimeout(server *caddyhttp.Server) time.Duration {
	shortest := time.Duration(0)
	for _, t := range []caddy.Duration{server.ReadHeaderTimeout, server.ReadTimeout, server.WriteTimeout} {
		if d := time.Duration(t); d > 0 && (shortest == 0 || d < shortest) {
			shortest = d
		}
	}
	return shortest
}

// UnmarshalCaddyfile reads keep_connections, which has no options.
func (*KeepConnections) UnmarshalCaddyfile(d *caddyfile.Dispenser) error {
	d.Next()
	if d.NextArg() {
		return d.ArgErr()
	}
	if d.NextBlock(0) {
		return d.Err("keep_connections has no options")
	}
	return nil
}

// Interface guards
var (
	_ caddy.Provisioner     = (*KeepConnections)(nil)
	_ caddy.ListenerWrapper = (*KeepConnections)(nil)
	_ caddyfile.Unmarshaler = (*KeepConnections)(nil)
)
