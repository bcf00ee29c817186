//go:build linux

package gate

import (
	"context"
	"net"
	"slices"
	"syscall"

	"golang.org/x/sys/unix"
)

// group has the UDP sockets of one address. A member is never closed, since the kernel numbers members by their order: one that nobody has is
// given to the next asker.
type group struct {
	address string
	members []*member
	target  int // the member to which the gate has sent packets last
}

// member is a UDP socket, and the asker that has it.
type member struct {
	conn   *net.UDPConn
	lessee *lease
}

// newGroup opens the first socket of an address.
func newGroup(ctx context.Context, address string) (*group, error) {
	g := &group{address: address}
	if err := g.add(ctx); err != nil {
		return nil, err
	}
	return g, g.steer(0)
}

// add opens one socket more.
func (g *group) add(ctx context.Context) error {
	config := net.ListenConfig{Control: func(_, _ string, raw syscall.RawConn) error {
		var failed error
		err := raw.Control(func(fd uintptr) {
			failed = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_REUSEPORT, 1)
		})
		if err != nil {
			return err
		}
		return failed
	}}
	conn, err := config.ListenPacket(ctx, "udp", g.address)
	if err != nil {
		return err
	}
	g.members = append(g.members, &member{conn: conn.(*net.UDPConn)})
	return nil
}

// steer sends all packets to a member.
func (g *group) steer(to int) error {
	g.target = to
	return attach(g.members[0].conn, toMember(to))
}

// join gives a member that nobody has to an asker. While another asker serves, packets go on to that one.
func (g *group) join(l *lease) (index int, err error) {
	free := func(m *member) bool { return m.lessee == nil }
	isFirst := !slices.ContainsFunc(g.members, func(m *member) bool { return m.lessee != nil })
	index = slices.IndexFunc(g.members, free)
	if index < 0 {
		if err := g.add(context.Background()); err != nil {
			return 0, err
		}
		index = len(g.members) - 1
	}
	g.members[index].lessee = l
	if isFirst {
		return index, g.steer(index)
	}
	return index, nil
}

// leave takes back the member of an asker. The newest of the others gets the packets if there is one.
func (g *group) leave(l *lease, others []*lease) error {
	index := g.memberOf(l)
	if index < 0 {
		return nil
	}
	g.members[index].lessee = nil
	if len(others) == 0 {
		return nil
	}
	// Even if this one was not the target of the gate, it may have attached a filter of its own.
	if next := g.memberOf(others[len(others)-1]); index == g.target && next >= 0 {
		return g.steer(next)
	}
	return nil
}

// memberOf returns the place of an asker's socket, or -1.
func (g *group) memberOf(l *lease) int {
	return slices.IndexFunc(g.members, func(m *member) bool { return m.lessee == l })
}

func (g *group) close() {
	for _, m := range g.members {
		_ = m.conn.Close()
	}
}
