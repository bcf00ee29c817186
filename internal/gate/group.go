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
//
// The first member, parking, is nobody's. It gets the packets while no process serves: clients send them again.
type group struct {
	address string
	members []*member
}

// parking is the member that no process has.
const parking = 0

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
	return g, g.park()
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

// park sends all packets to nobody. An asker that serves sends them to itself.
func (g *group) park() error { return attach(g.members[parking].conn, toMember(parking)) }

// join gives a member that nobody has to an asker.
func (g *group) join(l *lease) (index int, err error) {
	for index = parking + 1; index < len(g.members); index++ {
		if g.members[index].lessee == nil {
			g.members[index].lessee = l
			return index, nil
		}
	}
	if err := g.add(context.Background()); err != nil {
		return 0, err
	}
	g.members[index].lessee = l
	return index, nil
}

// leave takes back the member of an asker.
func (g *group) leave(l *lease, isLast bool) error {
	for _, m := range g.members {
		if m.lessee == l {
			m.lessee = nil
		}
	}
	if isLast {
		return g.park()
	}
	return nil
}

// membersOf returns the members that askers have.
func (g *group) membersOf(leases []*lease) []int {
	all := make([]int, len(leases))
	for i, l := range leases {
		all[i] = slices.IndexFunc(g.members, func(m *member) bool { return m.lessee == l })
	}
	return all
}

func (g *group) close() {
	for _, m := range g.members {
		_ = m.conn.Close()
	}
}
