package registry

import (
	"cmp"
	"maps"
	"slices"
	"time"
)

// nameEntry is one name that sources report on, with the services that use it.
type nameEntry struct {
	key      string
	services []*Service
	views    [sourceCount]view
}

// view is the last report of one source on one name.
type view struct {
	members   []Member
	reported  bool // the source has looked at least once
	everFound bool // it has found a member at least once
	problem   string
	stale     bool // reported before the source restarted
}

// resolution is the result of all sources' reports on a service.
type resolution struct {
	source  Source // the source that decides; if it has several names, on one of them
	members []resolvedMember
	decided bool // some source has looked for each name, and a static list has been read
	known   bool // some container has one of the names, even if it is stopped
}

// resolvedMember is a member of a service, with the source that decides on it.
type resolvedMember struct {
	Member
	source Source
}

// nameEntry returns the entry of a key, and creates it if needed. The caller holds r.mu.
func (r *Registry) nameEntry(key string) *nameEntry {
	n := r.names[key]
	if n == nil {
		n = &nameEntry{key: key}
		r.names[key] = n
	}
	return n
}

// prune removes a name that no service uses and no source reports a member for: containers come and go with names that never
// return.
func (r *Registry) prune(n *nameEntry) {
	if len(n.services) > 0 {
		return
	}
	for _, v := range n.views {
		if len(v.members) > 0 || v.problem != "" {
			return
		}
	}
	delete(r.names, n.key)
}

// reconcileName reconciles the services that use a name, and removes the name if nothing needs it. The caller holds r.mu.
func (r *Registry) reconcileName(n *nameEntry) {
	for _, s := range n.services {
		r.reconcile(s)
	}
	r.prune(n)
}

// reconcile changes the service's endpoints to what the sources report. Endpoints that remain keep their state, their
// connections and the requests on them. The caller holds r.mu.
func (r *Registry) reconcile(s *Service) {
	res := r.resolve(s)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return
	}
	if s.known && !res.known {
		s.unknownSince = time.Now()
	}
	s.decided, s.known, s.source = res.decided, res.known, res.source
	s.unreachable = slices.ContainsFunc(res.members, func(m resolvedMember) bool { return m.Phase == Unreachable })
	s.problem = r.problem(s)

	for _, e := range s.endpoints {
		e.isReported = false
	}
	var added []resolvedMember
	for i := range res.members {
		m := &res.members[i]
		if !m.canBeEndpoint() {
			continue
		}
		e := s.find(&m.Member)
		if e == nil {
			added = append(added, *m)
			continue
		}
		e.isReported = true
		e.updateMember(m.Member, m.source)
	}
	for _, e := range slices.Clone(s.endpoints) {
		if !e.isReported && e.removedReason == "" {
			reason, abort := explainRemoval(e, res)
			s.startRemoval(e, reason, abort)
		}
	}
	for _, m := range added {
		s.add(m.Member, m.source)
	}
	if res.decided && !res.known {
		s.queue.wake() // requests wait only for the replacement grace now
	}
}

// resolve merges the reports on a service's names. A container that several of them name is one member.
func (r *Registry) resolve(s *Service) resolution {
	merged := resolution{decided: !r.expected[Static]} // a static list that is not read yet may have the service
	for i, n := range s.names {
		source, members, decided, known := r.resolveName(n)
		if i == 0 || known && !merged.known {
			merged.source = source
		}
		merged.decided = merged.decided && decided
		merged.known = merged.known || known
		merged.members = slices.Grow(merged.members, len(members))
		for _, m := range members {
			m.Port = cmp.Or(m.Port, n.Port)
			if one := (resolvedMember{m, source}); i == 0 || !slices.ContainsFunc(merged.members, one.isSame) {
				merged.members = append(merged.members, one)
			}
		}
	}
	return merged
}

// isSame reports whether two members are one container at one address.
func (m resolvedMember) isSame(other resolvedMember) bool {
	return m.Addr == other.Addr && m.Port == other.Port && (m.ID == other.ID || m.hasAddressID() || other.hasAddressID())
}

// resolveName merges the sources' reports on a name. decided means that some source has looked, and known that some container
// has the name.
//
// While the orchestrator is connected, it decides on every name that it has ever known: an address that DNS still gives may belong
// to another container by now. Names that the orchestrator never listed, such as network aliases, are left to DNS. While the orchestrator is not
// connected, DNS decides; until DNS has answered, the last report of the orchestrator holds.
//
// DNS mixes the containers of all projects on a network. So it does not decide on a name that the orchestrator has a problem with, which is
// one of several projects, and the start waits a little for the orchestrator.
func (r *Registry) resolveName(name Name) (source Source, members []Member, decided, known bool) {
	if v := r.nameEntry(name.String()).views[Static]; v.reported {
		return Static, v.members, true, len(v.members) > 0
	}
	n := r.nameEntry(name.Host)
	orchestrated, dns := n.views[r.orchestrator], n.views[DNS]
	isOnline := r.online[r.orchestrator]
	switch {
	case orchestrated.problem != "":
		return r.orchestrator, orchestrated.members, true, len(orchestrated.members) > 0
	case r.isConnecting(r.orchestrator):
		return r.orchestrator, nil, false, orchestrated.everFound
	case orchestrated.everFound && (isOnline || !dns.reported):
		return r.orchestrator, orchestrated.members, true, len(orchestrated.members) > 0
	case dns.reported:
		known := dns.everFound || orchestrated.everFound
		return DNS, dns.members, known || !r.expected[r.orchestrator], known
	case isOnline && (!r.online[DNS] || name.Project() != ""):
		// The name is not listed, and there is no DNS to ask: it knows no projects, or the edge runs on a host that does not resolve
		// container names.
		return r.orchestrator, nil, true, false
	default:
		return r.orchestrator, nil, orchestrated.reported, orchestrated.everFound
	}
}

// IsOrchestrated reports whether the orchestrator decides on a host now, so that DNS is only the spare source.
func (r *Registry) IsOrchestrated(host string) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	n := r.names[host]
	return n != nil && r.online[r.orchestrator] && n.views[r.orchestrator].everFound
}

// problem returns the first problem that a source reports for the service's names. The caller holds r.mu.
func (r *Registry) problem(s *Service) string {
	for key := range s.keys() {
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

// find returns the endpoint of a member: the same container at the same address, or the same address if one of the two
// reports contains no more than that. The caller holds s.mu.
func (s *Service) find(m *Member) *Endpoint {
	addr := m.address()
	for _, e := range s.endpoints {
		if e.removedReason == "" && e.addr == addr && (e.member.ID == m.ID || e.member.hasAddressID() || m.hasAddressID()) {
			return e
		}
	}
	return nil
}

// knownNames lists the names for which some source reports a container, sorted, for error messages.
func (r *Registry) knownNames() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	var found []string
	for _, key := range slices.Sorted(maps.Keys(r.names)) {
		if slices.ContainsFunc(r.names[key].views[:], func(v view) bool { return len(v.members) > 0 }) {
			found = append(found, key)
		}
	}
	return found
}
