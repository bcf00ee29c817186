// Package listeners keeps the connections of clients through reloads: a network whose listening sockets stay open, and a listener wrapper
// that moves idle connections to the next configuration.
package listeners

import (
	"context"
	"net"
	"syscall"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"golang.org/x/sys/unix"

	"github.com/theworklabs/edge/internal/sharedsocket"
)

// Network is the name of the network of shared sockets. keep_connections uses it for the addresses of its server.
const Network = "edge"

func init() {
	caddy.RegisterNetwork(Network, listen)
	caddyhttp.RegisterNetworkHTTP3(Network, "udp") // Caddy shares these sockets itself
}

// sockets are the listening sockets of all configurations.
var sockets sharedsocket.Pool

// listen implements [caddy.ListenerFunc].
func listen(ctx context.Context, _, host, portRange string, portOffset uint, config net.ListenConfig) (any, error) {
	address, err := caddy.ParseNetworkAddress(caddy.JoinNetworkAddress("tcp", host, portRange))
	if err != nil {
		return nil, err
	}
	config.Control = reusePort
	return sockets.Listen(ctx, "tcp", address.JoinHostPort(portOffset), config)
}

// reusePort lets the socket share its address with one that Caddy has opened for an earlier configuration.
func reusePort(_, _ string, raw syscall.RawConn) error {
	var failed error
	err := raw.Control(func(fd uintptr) {
		failed = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_REUSEPORT, 1)
	})
	if err != nil {
		return err
	}
	return failed
}
