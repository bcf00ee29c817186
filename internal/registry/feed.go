package registry

import "slices"

// Source says who speaks through a [Feed]. Of several sources that know a name, the lower value decides.
type Source int

// The sources, in the order of their say: a static list beats everything, the Engine beats DNS while it is connected.
const (
	Static Source = iota
	Engine
	DNS
	sourceCount
)

// String returns the source's name as logs, the admin API and `edge status` show it.
func (s Source) String() string { return [...]string{"static", "engine", "dns"}[s] }

// Feed is how one source writes the registry. Safe for concurrent use, but a source writes in the order of what it saw.
type Feed struct {
	r      *Registry
	source Source
}

// Feed returns the writing end for a source.
func (r *Registry) Feed(s Source) *Feed { return &Feed{r, s} }

// Set says that name is answered by exactly these members, now. A name is a host ("bigcapital-server") or, from a
// static list, a service ("bigcapital-server:3000"). No members means that the source has looked and found none.
// The cost is that of the name's own members, however many other names there are.
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
	for _, s := range n.services {
		f.r.reconcile(s)
	}
	f.r.prune(n)
}

// SetProblem notes an error about a name that only its owner can mend ("two projects answer to it"). Empty clears it.
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
	for _, s := range n.services {
		f.r.reconcile(s)
	}
	f.r.prune(n)
}

// Withdraw says that the source no longer knows who answers to a name: it could not look for too long. Another source's
// word then holds.
func (f *Feed) Withdraw(key string) {
	f.r.mu.Lock()
	defer f.r.mu.Unlock()
	n := f.r.names[key]
	if f.r.closed || n == nil {
		return
	}
	n.views[f.source] = view{everFound: n.views[f.source].everFound}
	for _, s := range n.services {
		f.r.reconcile(s)
	}
	f.r.prune(n)
}

// SetOnline says whether the source is in touch with what it reads, when it has tried. While the Engine is not, DNS decides.
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
	}
	for _, s := range f.r.services {
		f.r.reconcile(s)
	}
	f.r.checkInitialSync() // those that wait for it look at what the source has said
}

// Expect says that the source is configured but may take a while to speak: until it has, a name that no other source
// knows may still turn out to be known.
func (f *Feed) Expect() {
	f.r.mu.Lock()
	defer f.r.mu.Unlock()
	f.r.expected[f.source], f.r.failed[f.source] = !f.r.online[f.source], false
	f.r.startInitialSync()
}

// MarkStale says that the source begins anew, with other settings. What it said so far holds until it is online again; what
// it has not repeated by then is withdrawn.
func (f *Feed) MarkStale() {
	f.r.mu.Lock()
	defer f.r.mu.Unlock()
	f.r.online[f.source] = false
	for _, n := range f.r.names {
		n.views[f.source].stale = true
	}
}

// dropStale empties the views that were not renewed: the source that asks found nobody, and a list says nothing of a name any
// more. The caller holds r.mu.
func (f *Feed) dropStale() {
	for _, n := range f.r.names {
		if v := &n.views[f.source]; v.stale {
			*v = view{reported: v.reported && f.source != Static, everFound: v.everFound}
			f.r.prune(n)
		}
	}
}

// Clear forgets all that the source ever said, as when it is taken out of the configuration.
func (f *Feed) Clear() {
	f.r.mu.Lock()
	defer f.r.mu.Unlock()
	f.r.online[f.source], f.r.expected[f.source] = false, false
	defer f.r.checkInitialSync()
	for _, n := range f.r.names {
		n.views[f.source] = view{}
		for _, s := range n.services {
			f.r.reconcile(s)
		}
		f.r.prune(n)
	}
}
