// Package resource tells errors that come from the edge's own limits from those of the other side.
package resource

import (
	"errors"
	"net"
	"syscall"
)

// Kind is what the edge, or the machine it runs on, has run out of.
type Kind string

// The kinds, as metrics and the log name them.
const (
	Descriptors Kind = "descriptors" // open files: EMFILE of the process, ENFILE of the machine
	Ports       Kind = "ports"       // local ports for one destination: EADDRNOTAVAIL
	Memory      Kind = "memory"      // the kernel's, for sockets: ENOBUFS, ENOMEM
)

// Kinds are all of them.
var Kinds = []Kind{Descriptors, Ports, Memory}

// Exhausted returns what the edge ran out of if that is why an operation on the network failed. Such an error says nothing
// about the other side: it is never a reason to take an endpoint out of rotation, and it passes. The errors are those of
// socket(2) and connect(2).
func Exhausted(err error) (kind Kind, ok bool) {
	errno, ok := errors.AsType[syscall.Errno](err)
	if !ok {
		return "", false
	}
	switch errno {
	case syscall.EMFILE, syscall.ENFILE:
		return Descriptors, true
	case syscall.EADDRNOTAVAIL: // or, of an IPv6 address, that this machine has no IPv6
		return Ports, !isToIPv6(err)
	case syscall.ENOBUFS, syscall.ENOMEM:
		return Memory, true
	}
	return "", false
}

// isToIPv6 reports whether an operation was one on an IPv6 address.
func isToIPv6(err error) bool {
	op, ok := errors.AsType[*net.OpError](err)
	if !ok {
		return false
	}
	addr, ok := op.Addr.(*net.TCPAddr)
	return ok && addr.IP.To4() == nil
}

// Hint returns what an operator can do about it.
func (k Kind) Hint() string {
	switch k {
	case Descriptors:
		return "raise the limit of open files (ulimits: nofile in the compose file, LimitNOFILE in systemd)"
	case Ports:
		return "widen net.ipv4.ip_local_port_range, or run more containers of the service"
	}
	return "give the machine more memory, or raise net.ipv4.tcp_mem"
}
