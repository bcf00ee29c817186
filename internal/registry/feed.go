package registry

import (
	"slices"
	"strings"
)

// Source identifies who writes a [Feed]. If several sources know a name, the one with the lower value decides.
type Source int

// The sources, by precedence: a static list comes first, and the orchestrator comes before DNS while it is connected. The orchestrator is the
// Docker Engine, a Swarm or Kubernetes, never two of them.
const (
	Static Source = iota
	Engine
	Swarm
	Kubernetes
	DNS
	sourceCount
)

// String returns the source's name as logs, the admin API and `edge status` show it.
func (s Source) String() string {
	return [...]string{"static", "engine", "swarm", "kubernetes", "dns"}[s]
}

// knowsSignals reports whether a member of the source is terminating only after its container got the signal.
func (s Source) knowsSignals() bool { return s == Engine }

// isOrchestrator reports whether the source knows which containers exist, and in which state.
func (s Source) isOrchestrator() bool { return s == Engine || s == Swarm || s == Kubernetes }

// Feed is how one source writes to the registry. It is safe for concurrent use, but a source must write in the order in which
// it observed the changes.
type Feed struct {
	r      *Registry
	source Source
}

// Feed returns the feed of a source.
func (r *Registry) Feed(s Source) *Feed { return &Feed{r, s} }

// Set reports that exactly these members have a name now. A name is a host ("bigcapital-server") or, from a static list, a
// service ("bigcapital-server:3000"). No members means that the source has looked and found none.
// The cost depends on the name's own members only, however many other names there are.
func (f *Feed) Set(key string, members []Member) {
	f.r.mu.Lock()
	defer f.r.mu.Unlock()
	if f.r.closed {
		return
	}
	n := f.r.nameEntry(key)
	view := &n.views[f.source]
	view.stale = false
	if view.reported && slices.Equal(view.members, members) {
		return
	}
	view.reported = true
	view.everFound = view.everFound || len(members) > 0
	view.members = slices.Clone(members)
	f.r.reconcileName(n)
}

// SetProblem reports a problem with a name that only its owner can solve ("two projects answer to it"). Empty clears it.
func (f *Feed) SetProblem(key, text string) {
	f.r.mu.Lock()
	defer f.r.mu.Unlock()
	if f.r.closed {
		return
	}
	n := f.r.nameEntry(key)
	view := &n.views[f.source]
	if view.problem == text {
		f.r.prune(n)
		return
	}
	view.problem = text
	f.r.reconcileName(n)
}

// Withdraw reports that the source no longer knows which members a name has: it could not look for too long. The report of
// another source then holds.
func (f *Feed) Withdraw(key string) {
	f.r.mu.Lock()
	defer f.r.mu.Unlock()
	n := f.r.names[key]
	if f.r.closed || n == nil {
		return
	}
	n.views[f.source] = view{everFound: n.views[f.source].everFound}
	f.r.reconcileName(n)
}

// SetOnline reports whether the source is connected to what it reads, once it has tried to connect. While the orchestrator is
// not connected, DNS decides.
func (f *Feed) SetOnline(online bool) {
	f.r.mu.Lock()
	defer f.r.mu.Unlock()
	if !online && f.r.expected[f.source] {
		f.r.failed[f.source] = true
		f.r.checkInitialSync()
	}
	if f.r.closed || f.r.online[f.source] == online {
		return
	}
	f.r.online[f.source] = online
	if online {
		f.r.expected[f.source] = false
		f.dropStale()
	} else {
		f.dropSpare()
	}
	for _, s := range f.r.services {
		f.r.reconcile(s)
	}
	f.r.checkInitialSync() // after reconcile: the requests that wait for it need what the source has reported
}

// Expect announces that the source is configured but has not reported yet. Until it has, a name that no other source knows may
// still become known.
func (f *Feed) Expect() {
	f.r.mu.Lock()
	defer f.r.mu.Unlock()
	f.r.expected[f.source], f.r.failed[f.source], f.r.required[f.source] = !f.r.online[f.source], false, true
	if f.source.isOrchestrator() {
		f.r.orchestrator = f.source
	}
	f.r.startInitialSync()
}

// MarkStale announces that the source restarts with other settings. Its reports hold until it is online again; the registry
// then drops those that it has not repeated.
func (f *Feed) MarkStale() {
	f.r.mu.Lock()
	defer f.r.mu.Unlock()
	if f.r.online[f.source] {
		f.dropSpare()
	}
	f.r.online[f.source] = false
	for _, n := range f.r.names {
		n.views[f.source].stale = true
	}
}

// dropSpare drops what DNS has reported, and not been asked for since, about names on which the source decides no more: its own last report
// holds until DNS has looked again. The caller holds r.mu.
func (f *Feed) dropSpare() {
	if f.source != f.r.orchestrator {
		return
	}
	for _, n := range f.r.names {
		if n.views[f.source].everFound && n.views[DNS].reported {
			n.views[DNS] = view{everFound: n.views[DNS].everFound}
			f.r.requestLookup(n.key)
		}
	}
}

// dropStale empties the views that the source has not repeated. A static list has then no opinion on the name; another source
// has looked for the name and not found it. The caller holds r.mu.
func (f *Feed) dropStale() {
	for _, n := range f.r.names {
		if v := &n.views[f.source]; v.stale {
			*v = view{reported: v.reported && f.source != Static, everFound: v.everFound}
			f.r.prune(n)
		}
	}
}

// Clear drops all reports of the source, for example when it is removed from the configuration.
func (f *Feed) Clear() {
	f.r.mu.Lock()
	defer f.r.mu.Unlock()
	isOrchestrator, wasOnline := f.r.orchestrator == f.source, f.r.online[f.source]
	f.r.online[f.source], f.r.expected[f.source], f.r.required[f.source] = false, false, false
	if isOrchestrator {
		f.r.orchestrator = Engine
	}
	defer f.r.checkInitialSync()
	for _, n := range f.r.names {
		if isOrchestrator && (wasOnline || !n.views[DNS].reported) {
			f.handOverToDNS(n)
		}
		n.views[f.source] = view{}
		f.r.reconcileName(n)
	}
}

// handOverToDNS makes what the source has seen last the report of DNS, which nobody has asked for some seconds, until it has looked again.
// The caller holds r.mu.
func (f *Feed) handOverToDNS(n *nameEntry) {
	last := n.views[f.source]
	if !last.everFound || !f.r.online[DNS] || len(n.services) == 0 || strings.Contains(n.key, "/") { // it is asked for the names of routes, and knows no projects
		return
	}
	dns := view{reported: true, everFound: true}
	for _, m := range last.members {
		if m.Phase == Running {
			dns.members = append(dns.members, Member{ID: m.Addr.String(), Addr: m.Addr, Phase: Running})
		}
	}
	n.views[DNS] = dns
	f.r.requestLookup(n.key)
}
