package registry

import "net/netip"

// Phase is the phase of a member's container as its source reports it, whether it answers or not.
type Phase string

// The phases of a member. Stopped and unreachable members become no endpoints, but make their service known: they may return.
const (
	Running     Phase = "running"
	Terminating Phase = "terminating" // Docker told the container to stop, and it has not stopped yet
	Stopped     Phase = "stopped"     // created, exited or dead
	Unreachable Phase = "unreachable" // running, but on no network that the edge can reach, or on a node that is down: its connections get no FIN
)

// Member is one container or address behind a name, as one source reports it.
type Member struct {
	ID              string     // container ID; from DNS and static lists, the address
	Name            string     // for display: project/service/number; may be empty
	Project         string     // the Compose project; "" if it has none, or the source does not know
	Addr            netip.Addr // the zero Addr if it has none
	Port            uint16     // 0: the port in the name
	Phase           Phase
	UnhealthyReason string // why it must not get requests although it runs ("unhealthy", "paused", a node is down); empty if it may
	ShouldRestart   bool   // its owner wants it restarted when it is unhealthy, and it is
}

// canBeEndpoint reports whether the member can be an endpoint.
func (m *Member) canBeEndpoint() bool {
	return m.Addr.IsValid() && (m.Phase == Running || m.Phase == Terminating)
}

// address returns where the member listens.
func (m *Member) address() netip.AddrPort { return netip.AddrPortFrom(m.Addr, m.Port) }

// hasAddressID reports whether the member's ID is its address, so that a source that knows more may replace it. It allocates nothing: each
// update asks it of all members.
func (m *Member) hasAddressID() bool {
	var buffer [64]byte
	return m.ID == string(m.Addr.AppendTo(buffer[:0])) || m.ID == string(m.address().AppendTo(buffer[:0]))
}
