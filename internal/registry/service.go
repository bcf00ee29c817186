package registry

import (
	"cmp"
	"iter"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// The defaults of [Settings].
const (
	DefaultHold    = 60 * time.Second
	DefaultMaxHeld = 1000

	// minHeldPerClient is the least default of MaxHeldPerClient, for a small MaxHeld: a browser opens six connections.
	minHeldPerClient = 10

	DefaultSlowStart   = 10 * time.Second
	DefaultCloseWindow = 5 * time.Second
)

// Settings are the configuration of a service.
type Settings struct {
	Hold    time.Duration // how long a request may wait for a ready endpoint; 0: DefaultHold; negative: not at all
	MaxHeld int           // how many requests may wait at once; 0: DefaultMaxHeld
	// MaxHeldPerClient is how many requests of one client may wait; 0: a tenth of MaxHeld, and at least 10; negative: no limit.
	MaxHeldPerClient int
	Probe            Prober // decides whether an endpoint is ready; nil: every known endpoint is

	Eject       Ejection
	SlowStart   time.Duration // how long an endpoint that became ready gets less than its full share; 0: DefaultSlowStart; negative: none
	RetryBudget float64       // the part of the requests that may be retries; 0: DefaultRetryBudget; negative: no limit
	CloseWindow time.Duration // over which a draining endpoint's sockets are closed; 0: DefaultCloseWindow
}

func (s Settings) withDefaults() Settings {
	s.Hold = cmp.Or(s.Hold, DefaultHold)
	s.MaxHeld = cmp.Or(s.MaxHeld, DefaultMaxHeld)
	s.MaxHeldPerClient = cmp.Or(s.MaxHeldPerClient, max(s.MaxHeld/10, minHeldPerClient))
	s.SlowStart = cmp.Or(s.SlowStart, DefaultSlowStart)
	s.RetryBudget = cmp.Or(s.RetryBudget, DefaultRetryBudget)
	s.CloseWindow = cmp.Or(s.CloseWindow, DefaultCloseWindow)
	s.Eject = s.Eject.withDefaults()
	return s
}

// Service is what routes proxy to: the endpoints behind one name or several. All routes that name them share one Service.
// Its methods are safe for concurrent use.
type Service struct {
	r     *Registry
	name  string // "bigcapital-server:3000", or several names with commas between them
	names []Name
	refs  int // guarded by r.mu

	counters          counters
	identitiesVersion atomic.Uint64 // how often an endpoint got or lost an identity

	// The rest is guarded by mu.
	mu                  sync.Mutex
	settings            Settings
	configured          bool
	endpoints           []*Endpoint
	byID                map[string]*Endpoint // by present and former identities
	ready               []*Endpoint          // those of endpoints that take requests, in no order
	since               time.Time            // when the service last got its first, or lost its last, ready endpoint
	hasSlowStart        bool                 // an endpoint may be in slow start, until slowStartUntil
	slowStartUntil      time.Time
	retryBudget         retryBudget
	queue               holdQueue
	terminatingServedAt time.Time // when a request last went to a terminating endpoint
	removedTraffic      Traffic   // of endpoints that are gone
	closed              bool      // the service gets no more endpoints

	// What the sources report, as of the last reconcile.
	decided      bool // some source has looked for the name
	known        bool
	unreachable  bool      // containers have the name and run, but are on no network of the edge's
	unknownSince time.Time // when the name was last known; zero if it never was
	source       Source
	problem      string
}

func newService(r *Registry, name string, names []Name) *Service {
	s := &Service{
		r: r, name: name, names: names,
		settings: Settings{}.withDefaults(),
		byID:     make(map[string]*Endpoint),
		since:    time.Now(),
	}
	s.queue = newHoldQueue(&s.mu)
	return s
}

// Name returns the service's name as routes write it, such as "bigcapital-server:3000".
func (s *Service) Name() string { return s.name }

// Names returns the names that the service consists of, sorted. There is at least one.
func (s *Service) Names() []Name { return slices.Clone(s.names) }

// Configure applies settings to the running service. Endpoints keep their state. If the probe has changed, each endpoint is
// probed from the beginning.
func (s *Service) Configure(settings Settings) {
	settings = settings.withDefaults()
	s.mu.Lock()
	defer s.mu.Unlock()
	current := s.settings.Probe
	isSame := current == nil && settings.Probe == nil || current != nil && settings.Probe != nil && current.Same(settings.Probe)
	if isSame {
		settings.Probe = current
	}
	isFirst := !s.configured
	s.settings, s.configured = settings, true
	if isSame && !isFirst || s.closed {
		return
	}
	for _, e := range s.endpoints {
		if e.removedReason == "" { // the address of a removed endpoint may be another container's
			e.startProbe()
		}
	}
}

// Drop gives back a reference taken with [Registry.Declare]. With the last reference, the registry forgets the service, and
// closes each endpoint as soon as its claims are released.
func (s *Service) Drop() {
	r := s.r
	r.mu.Lock()
	s.refs--
	isLast := s.refs == 0 && r.services[s.name] == s
	if isLast {
		delete(r.services, s.name)
		for key := range s.keys() {
			if n := r.names[key]; n != nil {
				n.services = slices.DeleteFunc(n.services, func(other *Service) bool { return other == s })
				if len(n.services) == 0 {
					n.views[DNS] = view{} // DNS no longer asks for the name, so that the view would become outdated
				}
				r.prune(n)
			}
		}
	}
	r.mu.Unlock()
	if isLast {
		s.close("no route names it any more")
	}
}

// keys returns the names under which sources may report the service, each once.
func (s *Service) keys() iter.Seq[string] {
	return func(yield func(string) bool) {
		for i, n := range s.names {
			isNewHost := !slices.ContainsFunc(s.names[:i], func(earlier Name) bool { return earlier.Host == n.Host })
			if !yield(n.String()) || isNewHost && !yield(n.Host) {
				return
			}
		}
	}
}

// close ends all waits and removes all endpoints.
func (s *Service) close(reason string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return
	}
	s.closed = true
	s.queue.stop()
	for _, e := range slices.Clone(s.endpoints) {
		s.startRemoval(e, reason, false)
	}
}

// IsReady reports whether the service has a ready endpoint.
func (s *Service) IsReady() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.ready) > 0
}

// ReadyAddresses returns the addresses of the ready endpoints, for load balancing by others than the registry.
func (s *Service) ReadyAddresses() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	addrs := make([]string, len(s.ready))
	for i, e := range s.ready {
		addrs[i] = e.address
	}
	return addrs
}

// Identities returns the present and former identities of the endpoints, and a version that changes whenever they may have
// changed.
func (s *Service) Identities() (ids []string, version uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Collect(maps.Keys(s.byID)), s.identitiesVersion.Load()
}

// IdentitiesVersion returns the version of [Service.Identities], without a lock.
func (s *Service) IdentitiesVersion() uint64 { return s.identitiesVersion.Load() }

// IsSameEndpoint reports whether two identities belong to one endpoint, one of them as a former identity.
func (s *Service) IsSameEndpoint(id, other string) bool {
	if id == other {
		return true
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	e := s.byID[id]
	return e != nil && e == s.byID[other]
}
