package registry

import (
	"maps"
	"slices"
)

// name is one name that sources answer for, and the services that stand on it.
type name struct {
	key      string
	services []*Service
	views    [sourceCount]view
}

// view is the last word of one source on one name.
type view struct {
	members  []Member
	reported bool // the source has looked at least once
	seen     bool // it has found someone at least once
	problem  string
	old      bool // said before the source began anew
}

// verdict is what the sources together say of a service.
type verdict struct {
	source  Source
	members []Member
	decided bool // some source has looked
	known   bool // a container is known, be it a stopped one
}

// name returns the entry of a key, made if it is new. The caller holds r.mu.
func (r *Registry) name(key string) *name {
	n := r.names[key]
	if n == nil {
		n = &name{key: key}
		r.names[key] = n
	}
	return n
}

// prune drops a name that nobody stands on and nobody answers to: containers come with names that never return.
func (r *Registry) prune(n *name) {
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

// judge merges the sources' views of a service. The Engine decides for every name that it has ever known, while it is
// connected: an address that DNS still gives may belong to another container by now. Names that the Engine never
// listed, such as network aliases, are left to DNS. When the Engine is out of reach, DNS decides, and where DNS has
// not answered either, what the Engine said last still holds.
func (r *Registry) judge(s *Service) verdict {
	if v := r.name(s.name).views[Static]; v.reported {
		return verdict{Static, v.members, true, len(v.members) > 0}
	}
	n := r.name(s.host)
	engine, dns := n.views[Engine], n.views[DNS]
	online := r.online[Engine]
	switch {
	case online && engine.problem != "" && len(engine.members) == 0:
		return verdict{source: Engine, decided: true} // asking DNS would mix up whose containers they are
	case engine.seen && (online || !dns.reported):
		return verdict{Engine, engine.members, true, len(engine.members) > 0}
	case dns.reported:
		known := dns.seen || engine.seen
		return verdict{DNS, dns.members, known || !r.expected[Engine], known}
	case online && !r.online[DNS]:
		return verdict{source: Engine, decided: true} // not listed, and there is no DNS to ask: a host without containers' names
	default:
		return verdict{Engine, nil, engine.reported, engine.seen}
	}
}

// known lists the names that any source has found a container for, for error messages.
func (r *Registry) known() []string {
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
