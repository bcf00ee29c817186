//go:build linux

package gate

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"strconv"

	"golang.org/x/net/bpf"
)

// Activated are the sockets that systemd has opened for this process (socket activation).
type Activated struct {
	tcp map[string]*net.TCPListener // by address
	udp map[string]*net.UDPConn
}

// firstActivated is the first descriptor that systemd passes.
const firstActivated = 3

// TakeActivated returns the sockets of systemd, or nil if there are none. It removes the variables that announce them, so that no child
// process takes them for its own.
func TakeActivated() (*Activated, error) {
	pid, count := os.Getenv("LISTEN_PID"), os.Getenv("LISTEN_FDS")
	if pid != strconv.Itoa(os.Getpid()) || count == "" {
		return nil, nil
	}
	for _, name := range []string{"LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES"} {
		_ = os.Unsetenv(name)
	}
	n, err := strconv.Atoi(count)
	if err != nil || n < 1 || n > maxSockets {
		return nil, fmt.Errorf("LISTEN_FDS=%q: want a number of sockets from 1 to %d", count, maxSockets)
	}
	a := &Activated{make(map[string]*net.TCPListener), make(map[string]*net.UDPConn)}
	for fd := firstActivated; fd < firstActivated+n; fd++ {
		if err := a.add(os.NewFile(uintptr(fd), "socket of systemd")); err != nil {
			return nil, fmt.Errorf("socket %d of systemd: %w", fd-firstActivated, err)
		}
	}
	return a, nil
}

// add takes one socket. Whether it is a listening one or one for packets is the kernel's answer.
func (a *Activated) add(file *os.File) error {
	defer file.Close()
	if ln, err := net.FileListener(file); err == nil {
		tcp, ok := ln.(*net.TCPListener)
		if !ok {
			_ = ln.Close()
			return fmt.Errorf("it is a socket of %s; ListenStream= takes ports only", ln.Addr().Network())
		}
		if a.tcp[portOf(tcp.Addr())] != nil {
			_ = tcp.Close()
			return fmt.Errorf("%s is there twice: one ListenStream= without an address is for IPv4 and IPv6", portOf(tcp.Addr()))
		}
		a.tcp[portOf(tcp.Addr())] = tcp
		return nil
	}
	conn, err := net.FilePacketConn(file)
	if err != nil {
		return err
	}
	udp, ok := conn.(*net.UDPConn)
	if !ok {
		_ = conn.Close()
		return errors.New("it is neither of TCP nor of UDP")
	}
	if a.udp[portOf(udp.LocalAddr())] != nil {
		_ = udp.Close()
		return fmt.Errorf("%s is there twice: one ListenDatagram= without an address is for IPv4 and IPv6", portOf(udp.LocalAddr()))
	}
	a.udp[portOf(udp.LocalAddr())] = udp
	return filterPackets(udp, dropAll)
}

// Serve has this process get the packets of its UDP sockets. Until then the kernel drops them, so that their clients send them again.
func (a *Activated) Serve() error { return a.filter(nil) }

// KeepClients is for a process that ends: it gets no packets any more that begin a QUIC connection.
func (a *Activated) KeepClients(func() []netip.AddrPort) error { return a.filter(dropNew) }

func (a *Activated) filter(program []bpf.Instruction) (failed error) {
	for _, conn := range a.udp {
		failed = errors.Join(failed, filterPackets(conn, program))
	}
	return failed
}

// portOf returns the address in the form of a configuration, in which all addresses of the machine are :PORT.
func portOf(addr net.Addr) string {
	host, port, err := net.SplitHostPort(addr.String())
	if err == nil && (host == "::" || host == "0.0.0.0") {
		return ":" + port
	}
	return addr.String()
}

// Listener implements [Sockets].
func (a *Activated) Listener(address string) (*net.TCPListener, error) {
	ln := a.tcp[address]
	if ln == nil {
		return nil, nil
	}
	return duplicateListener(ln)
}

// PacketConn implements [Sockets].
func (a *Activated) PacketConn(address string) (*net.UDPConn, error) {
	conn := a.udp[address]
	if conn == nil {
		return nil, nil
	}
	return duplicatePacketConn(conn)
}

func duplicateListener(of *net.TCPListener) (*net.TCPListener, error) {
	file, err := of.File()
	if err != nil {
		return nil, err
	}
	defer file.Close()
	ln, err := net.FileListener(file)
	if err != nil {
		return nil, err
	}
	return ln.(*net.TCPListener), nil
}

func duplicatePacketConn(of *net.UDPConn) (*net.UDPConn, error) {
	file, err := of.File()
	if err != nil {
		return nil, err
	}
	defer file.Close()
	conn, err := net.FilePacketConn(file)
	if err != nil {
		return nil, err
	}
	return conn.(*net.UDPConn), nil
}
