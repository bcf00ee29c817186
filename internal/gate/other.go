//go:build !linux

package gate

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"net/netip"
)

var errUnsupported = errors.New("gates need Linux")

// Lease is not available.
type Lease struct{}

// Ask returns an error.
func Ask(context.Context, string) (*Lease, error) { return nil, errUnsupported }

// Health returns an error.
func Health(context.Context, string) error { return errUnsupported }

// Ended returns nil.
func (*Lease) Ended() <-chan struct{} { return nil }

// Changed returns nil.
func (*Lease) Changed() <-chan struct{} { return nil }

// Askers returns 0.
func (*Lease) Askers() int { return 0 }

// Role returns "".
func (*Lease) Role() Role { return "" }

// Others returns false.
func (*Lease) Others(...Role) bool { return false }

// SayReady does nothing.
func (*Lease) SayReady() {}

// SayTake does nothing.
func (*Lease) SayTake() {}

// SayLeave does nothing.
func (*Lease) SayLeave() {}

// Gateways returns nil.
func (*Lease) Gateways() []netip.Addr { return nil }

// Addresses returns nil.
func (*Lease) Addresses() []Address { return nil }

// Listener returns an error.
func (*Lease) Listener(string) (*net.TCPListener, error) { return nil, errUnsupported }

// PacketConn returns an error.
func (*Lease) PacketConn(string) (*net.UDPConn, error) { return nil, errUnsupported }

// KeepClients returns an error.
func (*Lease) KeepClients(func() []netip.AddrPort) error { return errUnsupported }

// Serve returns an error.
func (*Lease) Serve() error { return errUnsupported }

// Close does nothing.
func (*Lease) Close() error { return nil }

// Activated is not available.
type Activated struct{ Lease }

// TakeActivated returns nil.
func TakeActivated() (*Activated, error) { return nil, nil }

// Server is not available.
type Server struct{}

// Open returns an error.
func Open(context.Context, string, []Address, *slog.Logger) (*Server, error) {
	return nil, errUnsupported
}

// Addresses returns nil.
func (*Server) Addresses() []Address { return nil }

// Serve returns an error.
func (*Server) Serve(context.Context) error { return errUnsupported }
