package registry

import (
	"slices"
	"time"
)

// reconcile makes the service's endpoints what the sources together say. Endpoints that stay keep their state, their
// connections and the requests on them. The caller holds r.mu.
func (r *Registry) reconcile(s *Service) {
	v := r.resolve(s)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return
	}
	if s.known && !v.known {
		s.unknownSince = time.Now()
	}
	s.decided, s.known, s.source = v.decided, v.known, v.source
	s.problem = r.problem(s)

	stays := make(map[*Endpoint]bool, len(s.endpoints))
	var added []Member
	for _, m := range v.members {
		if !m.canBeEndpoint() {
			continue
		}
		e := s.find(m)
		if e == nil {
			added = append(added, m)
			continue
		}
		stays[e] = true
		e.updateMember(m, v.source)
	}
	for _, e := range slices.Clone(s.endpoints) {
		if !stays[e] && e.removedReason == "" {
			reason, cut := explainRemoval(e, v)
			s.startRemoval(e, reason, cut)
		}
	}
	for _, m := range added {
		s.add(m, v.source)
	}
	if v.decided && !v.known {
		s.broadcast() // who waits need not much longer: nobody will come
	}
}

// find returns the endpoint that a member is: the same container at the same address, or the same address where one
// of the two sources knows no more than that.
func (s *Service) find(m Member) *Endpoint {
	addr := m.address(s.port)
	for _, e := range s.endpoints {
		if e.removedReason == "" && e.addr == addr && (e.member.ID == m.ID || e.member.hasAddressID() || m.hasAddressID()) {
			return e
		}
	}
	return nil
}

// explainRemoval says why an endpoint is no longer one, and whether its connections are dead. Those of a container that has ended
// are not cut, since what it sent before its end may still be on its way; TCP's keep-alive finds those whose end was lost.
func explainRemoval(e *Endpoint, v resolution) (reason string, cut bool) {
	for _, m := range v.members {
		if m.ID != e.member.ID {
			continue
		}
		switch m.Phase {
		case Stopped:
			return "its container stopped", false
		case Unreachable:
			return "its container left the edge's networks", true
		default:
			return "its container moved to " + m.Addr.String(), true
		}
	}
	if v.source == DNS {
		return "DNS no longer gives its address", false
	}
	return "no running container has its address", false
}

// problem returns the first complaint that a source has about the service's names.
func (r *Registry) problem(s *Service) string {
	for _, key := range s.keys() {
		n := r.names[key]
		if n == nil {
			continue
		}
		for _, v := range n.views {
			if v.problem != "" {
				return v.problem
			}
		}
	}
	return ""
}

// broadcast wakes everyone who waits, to look again. The caller holds s.mu.
func (s *Service) broadcast() {
	close(s.wake)
	s.wake = make(chan struct{})
}
