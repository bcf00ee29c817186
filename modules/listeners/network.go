// Package listeners keeps the connections of clients when a configuration or the process is replaced: networks whose listening sockets stay
// open, and a listener wrapper that moves idle connections to the next configuration.
package listeners

import (
	"context"
	"errors"
	"net"
	"sync/atomic"
	"syscall"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"go.uber.org/zap"
	"golang.org/x/sys/unix"

	"github.com/theworklabs/edge/internal/sharedsocket"
)

// Network is the name of the network of shared sockets. keep_connections uses it for the addresses of its server.
const Network = "edge"

// packetNetwork is the name of the network of its UDP sockets.
const packetNetwork = "edge-udp"

func init() {
	caddy.RegisterNetwork(Network, listen)
	caddy.RegisterNetwork(packetNetwork, listenPacket)
	caddyhttp.RegisterNetworkHTTP3(Network, packetNetwork)
}

// sockets are the listening TCP sockets of all configurations. Caddy itself shares those of HTTP/3.
var sockets = sharedsocket.Pool{Open: openListener, OnError: func(err error) {
	if report := onAcceptError.Load(); report != nil {
		(*report)(err)
	}
}}

var onAcceptError atomic.Pointer[func(error)]

// OnAcceptError has a function called for each connection that could not be accepted, in the place of the one before.
func OnAcceptError(report func(error)) { onAcceptError.Store(&report) }

// listen implements [caddy.ListenerFunc].
func listen(ctx context.Context, _, host, portRange string, portOffset uint, config net.ListenConfig) (any, error) {
	address, err := caddy.ParseNetworkAddress(caddy.JoinNetworkAddress("tcp", host, portRange))
	if err != nil {
		return nil, err
	}
	config.Control = reusePort
	return sockets.Listen(ctx, "tcp", address.JoinHostPort(portOffset), config)
}

// openListener returns a socket that was opened for this process, or opens one. With the socket of a gate in another container, it opens one
// as well.
func openListener(ctx context.Context, network, address string, config net.ListenConfig) (net.Listener, error) {
	ln, err := handed.listener(ctx, address, logger())
	if err != nil {
		return nil, err
	}
	if ln == nil {
		return config.Listen(ctx, network, address)
	}
	if !handed.hasGate() {
		return ln, nil
	}
	own, err := config.Listen(ctx, network, address)
	if err != nil {
		if !errors.Is(err, syscall.EADDRINUSE) { // in the same network namespace, the address is the gate's
			logger().Warn("other containers can't reach this edge by its name", zap.String("address", address), zap.Error(err))
		}
		return ln, nil
	}
	return merge(ln, handed.own.Wrap(own.(*net.TCPListener))), nil
}

// listenPacket implements [caddy.ListenerFunc] for HTTP/3.
func listenPacket(ctx context.Context, _, host, portRange string, portOffset uint, config net.ListenConfig) (any, error) {
	address, err := caddy.ParseNetworkAddress(caddy.JoinNetworkAddress("udp", host, portRange))
	if err != nil {
		return nil, err
	}
	conn, err := handed.packetConn(ctx, address.JoinHostPort(portOffset), logger())
	if conn != nil || err != nil {
		return conn, err
	}
	return address.Listen(ctx, portOffset, config)
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
