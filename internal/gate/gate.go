// Package gate keeps listening sockets open while the processes that serve them come and go.
//
// A gate is a small process that opens TCP and UDP sockets once, and gives duplicates of their descriptors to a process that asks over a
// unix socket (SCM_RIGHTS). It accepts no connection and reads no packet. While no process serves a TCP socket, connections wait in the
// queue of the kernel. A socket stays in the network namespace in which it was made, so the process that serves it can be in another one.
//
// The two sides talk over a unix socket of type SOCK_SEQPACKET. The asker sends one byte. The gate answers a request for sockets with a
// message in JSON, to which the descriptors are attached, and sends another one when something changes. The connection is the lease: the gate
// learns from its end that the asker has ended.
//
// Askers say when they are ready, take over or leave, by one byte each. The gate decides who serves, so that two askers that start at once do
// not both wait for the other: while nobody does, it is the oldest one that is ready. See [Role].
//
// All askers get the same TCP sockets, since the kernel gives each connection to one of those that accept. Of UDP sockets each asker gets
// one of its own, because packets of a QUIC connection must reach the process that knows it; a filter in the kernel, which the askers attach,
// decides which socket a packet goes to. See [Lease.Serve] and [Lease.KeepClients].
package gate

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strings"
)

// DefaultPath is the default path of a gate's unix socket.
const DefaultPath = "/run/gate/gate.sock"

// Address is where a socket listens.
type Address struct {
	Network string `json:"network"` // tcp or udp
	Address string `json:"address"` // HOST:PORT; the host may be empty
}

// ParseAddress reads [NETWORK/][HOST]:PORT, such as :443 or udp/:443.
func ParseAddress(text string) (Address, error) {
	network, address, found := strings.Cut(text, "/")
	if !found {
		network, address = "tcp", text
	}
	if network != "tcp" && network != "udp" {
		return Address{}, fmt.Errorf("%q: the network is tcp or udp, such as udp/:443", text)
	}
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return Address{}, fmt.Errorf("%q: want [NETWORK/][HOST]:PORT, such as :443 or udp/:443", text)
	}
	if host != "" {
		if _, err := netip.ParseAddr(host); err != nil {
			return Address{}, fmt.Errorf("%q: the host must be an IP address, or empty", text)
		}
	}
	if n, err := net.LookupPort(network, port); err != nil || n == 0 {
		return Address{}, fmt.Errorf("%q: want a port from 1 to 65535", text)
	}
	return Address{network, address}, nil
}

// String returns the form that [ParseAddress] reads.
func (a Address) String() string { return a.Network + "/" + a.Address }

// Sockets are sockets that another process has opened: a [Lease], or those of systemd. Listener and PacketConn return nil if there is none
// with the address, [HOST]:PORT.
type Sockets interface {
	Listener(address string) (*net.TCPListener, error)
	PacketConn(address string) (*net.UDPConn, error)
	// Serve and KeepClients say which packets the UDP sockets get: all, or only those of clients that have a QUIC connection.
	Serve() error
	KeepClients(clients func() []netip.AddrPort) error
}

// What an asker sends. The gate ignores other bytes after the first one: a newer asker may have more to say.
const (
	askForSockets = 'S'
	askForHealth  = 'H'
	sayReady      = 'R'
	sayTake       = 'T'
	sayLeave      = 'L'
)

// Role is what an asker does with the sockets.
type Role string

// The roles.
const (
	Starting Role = "starting" // it can't serve
	Ready    Role = "ready"    // it could serve, and another one does
	Serving  Role = "serving"
	Leaving  Role = "leaving" // it has served, and ends; it keeps the connections that it has
)

// message is what a gate sends.
type message struct {
	Error   string          `json:"error,omitempty"`
	Sockets []offered       `json:"sockets,omitempty"` // in the order of the attached descriptors; the first message has them
	Roles   []Role          `json:"roles,omitempty"`   // of the askers, the oldest first
	Self    int             `json:"self"`              // the place of the receiver among them
	Members map[Index][]int `json:"members,omitempty"` // of each UDP address, the sockets of the askers, the oldest first
	// Gateways are those of the gate's container; the first message has them.
	Gateways []netip.Addr `json:"gateways,omitempty"`
}

// Index is the place of a UDP address in the first message.
type Index = int

// offered is a socket in a message.
type offered struct {
	Address
	// Member is the place of a UDP socket among those of its address.
	Member int `json:"member,omitempty"`
}

// maxMessage is the largest message in bytes.
const maxMessage = 16 << 10

// maxAskers is how many processes may hold the sockets at a time: one serves, one is its successor, and one more may end.
const maxAskers = 4

// maxSockets is how many sockets a gate may have: the kernel passes no more descriptors at a time than 253.
const maxSockets = 64

// ErrRefused is the error of an asker that gets no sockets.
var ErrRefused = errors.New("the gate refuses")
