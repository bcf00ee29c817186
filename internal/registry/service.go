package registry

import (
	"cmp"
	"context"
	"errors"
	"net/netip"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"time"
)

// The defaults of [Settings].
const (
	DefaultHold    = 60 * time.Second
	DefaultMaxHeld = 1000

	// minHeldPerClient is how many requests of one client may wait where few may at all: a browser opens six connections.
	minHeldPerClient = 10

	DefaultSlowStart   = 10 * time.Second
	DefaultCloseWindow = 5 * time.Second
)

// Settings are what the configuration says of a service.
type Settings struct {
	Hold    time.Duration // how long a request may wait for a ready endpoint; 0: DefaultHold; negative: not at all
	MaxHeld int           // how many may wait at once; 0: DefaultMaxHeld
	// MaxHeldPerClient is how many of one client may wait; 0: a tenth of MaxHeld, but 10 in any case; negative: no limit.
	MaxHeldPerClient int
	Probe            Prober // what makes an endpoint ready; nil: every endpoint is, as soon as it is known

	Eject       Ejection
	SlowStart   time.Duration // in which an endpoint that became ready grows into its full part; 0: DefaultSlowStart; negative: none
	RetryBudget float64       // part of the requests that retries may be; 0: DefaultRetryBudget; negative: no limit
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

// Prober is the active check of a service's endpoints.
type Prober interface {
	// Run checks one endpoint until ctx ends, and tells the target what it finds. One Run per endpoint.
	Run(ctx context.Context, t Target)
	// Same reports whether other checks in the same way.
	Same(other Prober) bool
}

// Service is a name that routes proxy to, with its endpoints. Used in several routes it is one service.
// Its methods are safe for concurrent use.
type Service struct {
	r    *Registry
	name string // "bigcapital-server:3000"
	host string
	port uint16
	refs int // guarded by r.mu

	mu             sync.Mutex
	settings       Settings
	configured     bool
	endpoints      []*Endpoint
	byID           map[string]*Endpoint
	ready          []*Endpoint // those of them that take requests, in no order
	hasSlowStart   bool        // one of them may be in its slow start, until slowStartUntil
	slowStartUntil time.Time
	retryBudget    retryBudget
	removedTraffic Traffic // of endpoints that are gone

	requestCounters     requestCounters
	identitiesVersion   atomic.Uint64 // how often an endpoint got or lost an identity
	held                int           // requests that wait
	heldBy              map[netip.Addr]int
	since               time.Time     // when it last had, or lost, its last ready endpoint
	terminatingServedAt time.Time     // when a request last went to an endpoint that was told to stop
	wake                chan struct{} // closed when an endpoint becomes ready, or the service closes
	decided             bool
	known               bool
	unknownSince        time.Time // when it ceased to be known; zero if it never was
	source              Source
	problem             string
	closed              bool // no endpoint comes any more
	holdingStopped      bool // nobody may wait any more
}

func newService(r *Registry, name, host string, port uint16) *Service {
	return &Service{
		r: r, name: name, host: host, port: port,
		settings: Settings{}.withDefaults(),
		byID:     make(map[string]*Endpoint),
		heldBy:   make(map[netip.Addr]int),
		since:    time.Now(),
		wake:     make(chan struct{}),
	}
}

// Name returns the service's name as routes write it, such as "bigcapital-server:3000".
func (s *Service) Name() string { return s.name }

// Configure applies settings to the living service. Endpoints keep their state; a changed probe starts anew.
func (s *Service) Configure(settings Settings) {
	settings = settings.withDefaults()
	s.mu.Lock()
	defer s.mu.Unlock()
	was := s.settings.Probe
	same := was == nil && settings.Probe == nil || was != nil && settings.Probe != nil && was.Same(settings.Probe)
	if same {
		settings.Probe = was
	}
	first := !s.configured
	s.settings, s.configured = settings, true
	if same && !first || s.closed {
		return
	}
	for _, e := range s.endpoints {
		if e.removedReason == "" { // its address may be another container's
			e.startProbe()
		}
	}
}

// Drop gives back a reference taken with [Registry.Declare]. With the last one the service is forgotten and its
// endpoints are closed as their claims are released.
func (s *Service) Drop() {
	r := s.r
	r.mu.Lock()
	s.refs--
	last := s.refs == 0 && r.services[s.name] == s
	if last {
		delete(r.services, s.name)
		for _, key := range s.keys() {
			if n := r.names[key]; n != nil {
				n.services = slices.DeleteFunc(n.services, func(other *Service) bool { return other == s })
				if len(n.services) == 0 {
					n.views[DNS] = view{} // nobody asks for it any more, so that it would grow old unseen
				}
				r.prune(n)
			}
		}
	}
	r.mu.Unlock()
	if last {
		s.close("no route names it any more")
	}
}

// keys returns the names under which sources may speak of the service.
func (s *Service) keys() []string { return []string{s.name, s.host} }

// close ends all waits and removes all endpoints.
func (s *Service) close(reason string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return
	}
	s.closed = true
	close(s.wake)
	for _, e := range slices.Clone(s.endpoints) {
		s.startRemoval(e, reason, false)
	}
}

// newError makes a registry error name its service.
func (s *Service) newError(err error, detail string) error {
	return &Error{Service: s.name, Err: err, Detail: detail}
}

// Error is why a service could not be given a request.
type Error struct {
	Service string
	Err     error // ErrUnknown, ErrDown, ErrFull, ErrClientFull or ErrClosed
	Detail  string
}

// Error names the service, the reason and its detail.
func (e *Error) Error() string {
	text := e.Service + ": " + e.Err.Error()
	if e.Detail != "" {
		text += ": " + e.Detail
	}
	return text
}

// Unwrap returns ErrUnknown, ErrDown, ErrFull, ErrClientFull or ErrClosed.
func (e *Error) Unwrap() error { return e.Err }

// Why [Service.Acquire] fails. A request context that ends is returned as its own error.
var (
	ErrUnknown = errors.New("no container answers to this name")
	ErrDown    = errors.New("no ready endpoint")
	ErrFull    = errors.New("too many requests wait already")
	// ErrClientFull leaves room in the queue for others than the client that has filled its part of it.
	ErrClientFull = errors.New("too many requests of this client wait already")
	ErrClosed     = errors.New("the service is closed")
)

func plural(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return strconv.Itoa(n) + " " + noun + "s"
}

// Hold returns how long a request may wait for a ready endpoint.
func (s *Service) Hold() time.Duration {
	s.mu.Lock()
	defer s.mu.Unlock()
	return max(s.settings.Hold, 0)
}
