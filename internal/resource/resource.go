// Package resource recognizes errors that come from the limits of the edge and its machine, not from the other side.
package resource

import (
	"errors"
	"net"
	"syscall"
)

// Kind is a resource of the edge, or of the machine it runs on.
type Kind string

// The kinds, as metrics and logs name them.
const (
	Descriptors Kind = "descriptors" // open files: EMFILE of the process, ENFILE of the machine
	Ports       Kind = "ports"       // local ports for one destination: EADDRNOTAVAIL
	Memory      Kind = "memory"      // of the kernel, for sockets: ENOBUFS, ENOMEM
)

// Kinds lists all kinds.
var Kinds = []Kind{Descriptors, Ports, Memory}

// Exhausted returns the resource that the edge has run out of, if err says that a network operation failed for this reason.
// Such an error is temporary and says nothing about the other side: an endpoint must not leave rotation because of it. The
// errors are those of socket(2) and connect(2).
func Exhausted(err error) (kind Kind, ok bool) {
	errno, ok := errors.AsType[syscall.Errno](err)
	if !ok {
		return "", false
	}
	switch errno {
	case syscall.EMFILE, syscall.ENFILE:
		return Descriptors, true
	case syscall.EADDRNOTAVAIL: // for an IPv6 address, it can also mean that the machine has no IPv6
		return Ports, !isToIPv6(err)
	case syscall.ENOBUFS, syscall.ENOMEM:
		return Memory, true
	}
	return "", false
}

// isToIPv6 reports whether the failed operation had an IPv6 address.
func isToIPv6(err error) bool {
	op, ok := errors.AsType[*net.OpError](err)
	if !ok {
		return false
	}
	addr, ok := op.Addr.(*net.TCPAddr)
	return ok && addr.IP.To4() == nil
}

// Hint returns what an operator can do when the resource runs out.
func (k Kind) Hint() string {
	switch k {
	case Descriptors:
		return "raise the limit of open files (ulimits: nofile in the compose file, LimitNOFILE in systemd)"
	case Ports:
		return "widen net.ipv4.ip_local_port_range, or run more containers of the service"
	}
	return "give the machine more memory, or raise net.ipv4.tcp_mem"
}
