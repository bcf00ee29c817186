package registry

import (
	"maps"
	"slices"
)

// nameEntry is one name that sources answer for, and the services that stand on it.
type nameEntry struct {
	key      string
	services []*Service
	views    [sourceCount]view
}

// view is the last word of one source on one name.
type view struct {
	members   []Member
	reported  bool // the source has looked at least once
	everFound bool // it has found someone at least once
	problem   string
	stale     bool // said before the source began anew
}

// resolution is what the sources together say of a service.
type resolution struct {
	source  Source
	members []Member
	decided bool // some source has looked
	known   bool // a container is known, be it a stopped one
}

// nameEntry returns the entry of a key, made if it is new. The caller holds r.mu.
func (r *Registry) nameEntry(key string) *nameEntry {
	n := r.names[key]
	if n == nil {
		n = &nameEntry{key: key}
		r.names[key] = n
	}
	return n
}

// prune drops a name that nobody stands on and nobody answers to: containers come with names that never return.
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

// resolve merges the sources' views of a service. The Engine decides for every name that it has ever known, while it is
// connected: an address that DNS still gives may belong to another container by now. Names that the Engine never
// listed, such as network aliases, are left to DNS. When the Engine is out of reach, DNS decides, and where DNS has
// not answered either, what the Engine said last still holds.
func (r *Registry) resolve(s *Service) resolution {
	if v := r.nameEntry(s.name).views[Static]; v.reported {
		return resolution{Static, v.members, true, len(v.members) > 0}
	}
	n := r.nameEntry(s.host)
	engine, dns := n.views[Engine], n.views[DNS]
	online := r.online[Engine]
	switch {
	case online && engine.problem != "" && len(engine.members) == 0:
		return resolution{source: Engine, decided: true} // asking DNS would mix up whose containers they are
	case engine.everFound && (online || !dns.reported):
		return resolution{Engine, engine.members, true, len(engine.members) > 0}
	case dns.reported:
		known := dns.everFound || engine.everFound
		return resolution{DNS, dns.members, known || !r.expected[Engine], known}
	case online && !r.online[DNS]:
		return resolution{source: Engine, decided: true} // not listed, and there is no DNS to ask: a host without containers' names
	default:
		return resolution{Engine, nil, engine.reported, engine.everFound}
	}
}

// knownNames lists the names that any source has found a container for, for error messages.
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
