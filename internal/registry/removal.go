package registry

import (
	"cmp"
	"slices"
)

// explainRemoval says why an endpoint is no longer one, and whether its connections must be aborted. Those of a container that
// has ended are not: what it sent before its end may still arrive. TCP keep-alive finds connections whose FIN was lost.
func explainRemoval(e *Endpoint, res resolution) (reason string, abort bool) {
	for _, m := range res.members {
		if m.ID != e.member.ID {
			continue
		}
		switch m.Phase {
		case Stopped:
			return "its container stopped", false
		case Unreachable:
			return cmp.Or(m.UnhealthyReason, "its container left the edge's networks"), true
		default:
			return "its container moved to " + m.Addr.String(), true
		}
	}
	if e.source == DNS {
		return "DNS no longer gives its address", false
	}
	return "no running container has its address", false
}

// startRemoval removes an endpoint once its requests and sockets have finished; with abort, their connections are broken at
// once. It gets no new requests, not even of sessions: its address may be another container's from now on. The caller holds
// s.mu.
func (s *Service) startRemoval(e *Endpoint, reason string, abort bool) {
	e.removedReason = reason
	if e.stopProbe != nil {
		e.stopProbe()
	}
	if e.conns != nil {
		e.conns.Close()
		if abort {
			e.conns.Abort()
		}
	}
	if e.isIdle() {
		s.finishRemoval(e)
		return
	}
	e.updateState()
}

// finishRemoval forgets a removed endpoint that has no requests and no sockets. The caller holds s.mu.
func (s *Service) finishRemoval(e *Endpoint) {
	s.endpoints = slices.DeleteFunc(s.endpoints, func(other *Endpoint) bool { return other == e })
	e.removeIDs()
	if e.stopProbe != nil {
		e.stopProbe()
	}
	e.ejection.stopTimer()
	e.termination.stopTimer()
	e.enter(Gone, e.removedReason)
	if e.conns == nil {
		return
	}
	e.conns.Close() // again: requests may have returned connections since the first Close
	s.removedTraffic.add(e.conns.Traffic())
}
