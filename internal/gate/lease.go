//go:build linux

package gate

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"slices"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// Lease is the sockets that a gate has given to this process.
type Lease struct {
	conn    *net.UnixConn
	ended   chan struct{}
	changed chan struct{}
	// gateways are those of the gate's container.
	gateways []netip.Addr

	mu      sync.Mutex
	sockets []lent
	roles   []Role // of the askers, the oldest first
	self    int    // the place of this process among them
	members map[Index][]int
	serves  bool                    // set by Serve
	clients func() []netip.AddrPort // set by KeepClients
}

// lent is a socket of a lease.
type lent struct {
	offered
	tcp *net.TCPListener
	udp *net.UDPConn
}

// Ask asks the gate at path for its sockets.
func Ask(ctx context.Context, path string) (*Lease, error) {
	conn, err := dial(ctx, path, askForSockets)
	if err != nil {
		return nil, err
	}
	l := &Lease{conn: conn, ended: make(chan struct{}), changed: make(chan struct{}, 1)}
	m, fds, err := receive(conn)
	if err == nil {
		err = l.take(m, fds)
	}
	if err != nil {
		_ = conn.Close()
		return nil, fmt.Errorf("ask the gate at %s: %w", path, err)
	}
	_ = conn.SetDeadline(time.Time{})
	go l.follow()
	return l, nil
}

// Health returns an error unless a gate answers at path.
func Health(ctx context.Context, path string) error {
	conn, err := dial(ctx, path, askForHealth)
	if err != nil {
		return err
	}
	defer conn.Close()
	_, _, err = receive(conn)
	return err
}

// answerTimeout is how long a gate may take to answer.
const answerTimeout = 5 * time.Second

func dial(ctx context.Context, path string, ask byte) (*net.UnixConn, error) {
	dialer := net.Dialer{Timeout: answerTimeout}
	conn, err := dialer.DialContext(ctx, "unixpacket", path)
	if err != nil {
		return nil, fmt.Errorf("ask the gate: %w", err)
	}
	_ = conn.SetDeadline(time.Now().Add(answerTimeout))
	// If the gate has refused and gone already, the reason is there to be read.
	_, _ = conn.Write([]byte{ask})
	return conn.(*net.UnixConn), nil
}

// receive reads one message, and the descriptors that are attached to it.
func receive(conn *net.UnixConn) (m message, fds []int, err error) {
	text, rights := make([]byte, maxMessage), make([]byte, unix.CmsgSpace(4*maxSockets))
	n, rightsLen, flags, _, err := conn.ReadMsgUnix(text, rights)
	if err != nil {
		return m, nil, err
	}
	if n == 0 {
		return m, nil, errors.New("it has ended")
	}
	if fds, err = descriptors(rights[:rightsLen]); err != nil {
		return m, nil, err
	}
	if flags&(unix.MSG_TRUNC|unix.MSG_CTRUNC) != 0 {
		err = errors.New("its message is too long, or this process may open no more files")
	} else if err = json.Unmarshal(text[:n], &m); err == nil && m.Error != "" {
		err = fmt.Errorf("%w: %s", ErrRefused, m.Error)
	}
	if err != nil {
		closeAll(fds)
		return m, nil, err
	}
	return m, fds, nil
}

// descriptors returns those of a control message. They are closed on exec.
func descriptors(rights []byte) ([]int, error) {
	messages, err := unix.ParseSocketControlMessage(rights)
	if err != nil {
		return nil, err
	}
	var fds []int
	for _, m := range messages {
		got, err := unix.ParseUnixRights(&m)
		if err != nil {
			closeAll(fds)
			return nil, err
		}
		fds = append(fds, got...)
	}
	for _, fd := range fds {
		unix.CloseOnExec(fd)
	}
	return fds, nil
}

func closeAll(fds []int) {
	for _, fd := range fds {
		_ = unix.Close(fd)
	}
}

// take makes sockets of the descriptors of the first message.
func (l *Lease) take(m message, fds []int) error {
	if len(fds) != len(m.Sockets) {
		closeAll(fds)
		return fmt.Errorf("it names %d sockets and gives %d", len(m.Sockets), len(fds))
	}
	var failed error
	for i, fd := range fds {
		file := os.NewFile(uintptr(fd), m.Sockets[i].String())
		s, err := lentSocket(file, m.Sockets[i])
		failed = errors.Join(failed, err, file.Close())
		l.sockets = append(l.sockets, s)
	}
	if failed != nil {
		l.closeSockets()
		return failed
	}
	l.roles, l.self, l.members, l.gateways = m.Roles, m.Self, m.Members, m.Gateways
	return nil
}

// lentSocket returns a socket of a descriptor, which it duplicates.
func lentSocket(file *os.File, o offered) (lent, error) {
	s := lent{offered: o}
	switch o.Network {
	case "tcp":
		ln, err := net.FileListener(file)
		if err != nil {
			return s, err
		}
		tcp, ok := ln.(*net.TCPListener)
		if !ok {
			_ = ln.Close()
			return s, fmt.Errorf("what it gives for %s is no TCP socket", o)
		}
		s.tcp = tcp
	case "udp":
		pc, err := net.FilePacketConn(file)
		if err != nil {
			return s, err
		}
		udp, ok := pc.(*net.UDPConn)
		if !ok {
			_ = pc.Close()
			return s, fmt.Errorf("what it gives for %s is no UDP socket", o)
		}
		s.udp = udp
	default:
		return s, fmt.Errorf("it names an unknown network, %q", o.Network)
	}
	return s, nil
}

// follow reads what the gate sends later, until it ends.
func (l *Lease) follow() {
	defer close(l.ended)
	for {
		m, fds, err := receive(l.conn)
		if err != nil {
			return
		}
		closeAll(fds) // there are none
		l.mu.Lock()
		l.roles, l.self, l.members = m.Roles, m.Self, m.Members
		_ = l.steer() // Serve and KeepClients have reported the error
		l.mu.Unlock()
		select {
		case l.changed <- struct{}{}:
		default:
		}
	}
}

// Ended is closed when the gate has ended. The sockets of the lease get no new connections from then on.
func (l *Lease) Ended() <-chan struct{} { return l.ended }

// Changed gets a value when the role of an asker has changed.
func (l *Lease) Changed() <-chan struct{} { return l.changed }

// Askers returns how many processes have the sockets, with this one.
func (l *Lease) Askers() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.roles)
}

// Role returns the role of this process, as the gate knows it.
func (l *Lease) Role() Role {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.self >= len(l.roles) {
		return Starting
	}
	return l.roles[l.self]
}

// Others reports whether another process has one of the roles.
func (l *Lease) Others(roles ...Role) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	for i, r := range l.roles {
		if i != l.self && slices.Contains(roles, r) {
			return true
		}
	}
	return false
}

// SayReady says that this process can serve. The gate makes it serve if no other one does.
func (l *Lease) SayReady() { l.say(sayReady) }

// SayTake says that this process serves, also if another one does.
func (l *Lease) SayTake() { l.say(sayTake) }

// SayLeave says that this process ends, or that it can't serve any more.
func (l *Lease) SayLeave() { l.say(sayLeave) }

// say sends one byte. If the gate has ended, [Lease.Ended] tells.
func (l *Lease) say(b byte) { _, _ = l.conn.Write([]byte{b}) }

// Gateways returns the gateways of the gate's container: the addresses under which Docker hides clients.
func (l *Lease) Gateways() []netip.Addr { return l.gateways }

// Addresses returns where the sockets listen.
func (l *Lease) Addresses() []Address {
	l.mu.Lock()
	defer l.mu.Unlock()
	all := make([]Address, len(l.sockets))
	for i := range l.sockets {
		all[i] = l.sockets[i].Address
	}
	return all
}

// Listener returns the TCP socket of an address, [HOST]:PORT, or nil if the gate has none. The caller owns it; a second call returns a
// duplicate.
func (l *Lease) Listener(address string) (*net.TCPListener, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, s := range l.sockets {
		if s.tcp != nil && s.Address.Address == address {
			return duplicateListener(s.tcp)
		}
	}
	return nil, nil
}

// PacketConn returns the UDP socket of an address, like [Lease.Listener].
func (l *Lease) PacketConn(address string) (*net.UDPConn, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, s := range l.sockets {
		if s.udp != nil && s.Address.Address == address {
			return duplicatePacketConn(s.udp)
		}
	}
	return nil, nil
}

// Serve has this process get the packets of its UDP addresses, as soon as no older asker serves, and none that leaves has connections.
func (l *Lease) Serve() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.serves, l.clients = true, nil
	return l.steer()
}

// KeepClients is for a process that has served and ends: the packets of its clients go to it as before, so that it keeps its QUIC connections,
// and those of all others to the newest one that serves. If there is none, they go to nobody, until the next process serves.
//
// A client whose address changes meanwhile reaches the successor, which does not know its connection.
func (l *Lease) KeepClients(clients func() []netip.AddrPort) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.serves, l.clients = false, clients
	return l.steer()
}

// steer attaches the filters that Serve and KeepClients ask for. The caller holds l.mu.
func (l *Lease) steer() error {
	var failed error
	for i := range l.sockets {
		s, members := &l.sockets[i], l.members[i]
		switch {
		case s.udp == nil || len(members) == 0:
		case l.serves && l.ownsPackets():
			failed = errors.Join(failed, attach(s.udp, toMember(s.Member)))
		case l.clients != nil:
			failed = errors.Join(failed, s.keepClients(l.clients(), l.successor(members)))
		}
	}
	return failed
}

// ownsPackets reports whether this process decides where packets go. One that leaves does as long as it is there, and gives them to its
// successor; an older one that serves is about to leave. The caller holds l.mu.
func (l *Lease) ownsPackets() bool {
	for i, r := range l.roles {
		if i != l.self && (r == Leaving || r == Serving && i < l.self) {
			return false
		}
	}
	return true
}

// successor returns the member that gets the packets of new clients when this process leaves. The caller holds l.mu.
func (l *Lease) successor(members []int) int {
	for i, r := range slices.Backward(l.roles) {
		if i != l.self && r == Serving && i < len(members) {
			return members[i]
		}
	}
	return parking
}

// keepClients attaches the filter of a process that ends.
func (s *lent) keepClients(clients []netip.AddrPort, successor int) error {
	leftOut, err := attachForClients(s.udp, clients, s.Member, successor)
	if err == nil && leftOut > 0 {
		err = fmt.Errorf("%d QUIC connections end, because a filter has no room for their clients", leftOut)
	}
	return err
}

// Close ends the lease. Sockets that Listener and PacketConn have returned stay open.
func (l *Lease) Close() error {
	l.mu.Lock()
	l.serves, l.clients = false, nil // the gate must not learn of the end before the last filter is attached
	l.mu.Unlock()
	err := l.conn.Close()
	<-l.ended
	l.closeSockets()
	return err
}

func (l *Lease) closeSockets() {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, s := range l.sockets {
		if s.tcp != nil {
			_ = s.tcp.Close()
		}
		if s.udp != nil {
			_ = s.udp.Close()
		}
	}
	l.sockets = nil
}
