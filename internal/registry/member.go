package registry

import "net/netip"

// Phase is what a source knows of a member's own life, apart from whether it answers.
type Phase string

// The phases of a member. Stopped and Detached ones get no endpoint, but count as known: their service may come back.
const (
	Running     Phase = "running"
	Terminating Phase = "leaving"  // told to stop, not dead yet
	Stopped     Phase = "stopped"  // created, exited or dead
	Unreachable Phase = "detached" // running, but on no network that the edge can reach: its connections get no FIN
)

// Member is one place where a name is answered, as one source sees it.
type Member struct {
	ID              string     // container ID; for DNS and static lists, the address
	Name            string     // for display: project/service/number; may be empty
	Addr            netip.Addr // where; the zero Addr when it has none
	Port            uint16     // 0: the port that the service names
	Phase           Phase
	UnhealthyReason string // why it must not be used although it runs ("unhealthy", "paused"); empty when it may be
}

// canBeEndpoint reports whether the member can be an endpoint.
func (m Member) canBeEndpoint() bool {
	return m.Addr.IsValid() && (m.Phase == Running || m.Phase == Terminating)
}

// address returns where the member listens for a service whose name carries port.
func (m Member) address(port uint16) netip.AddrPort {
	if m.Port != 0 {
		port = m.Port
	}
	return netip.AddrPortFrom(m.Addr, port)
}

// hasAddressID reports whether the member's identity is its address, so that a source that knows better may name it.
func (m Member) hasAddressID() bool { return m.ID == m.Addr.String() || m.ID == m.address(0).String() }
