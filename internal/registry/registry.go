// Package registry knows at every moment which endpoints can take a request for which service.
//
// Sources (the Docker Engine, DNS, a static list) write what they observe through a [Feed], and probes report whether endpoints
// answer. The request path only reads: [Service.Acquire] picks an endpoint and counts the request on it.
// Data flows one way, and nothing on the request path asks DNS or Docker.
package registry

import (
	"maps"
	"slices"
	"sync"
	"sync/atomic"
)

// Options are the options of [New]. With the zero value, endpoints have no [Conns] and changes are not reported.
type Options struct {
	// OpenConns returns the connections of a new endpoint at addr ("172.18.0.7:3000"). It must not block.
	OpenConns func(addr string) Conns
	// OnChange is called for every change of an endpoint's state, in order. The service is locked: OnChange must not call
	// back into the registry and must not block.
	OnChange func(Change)
}

// Registry holds the services, and the sources' reports on their names. It is safe for concurrent use and outlives
// configuration reloads.
//
// Lock order: Registry.mu before Service.mu. [Service.Acquire] takes only the service's lock.
type Registry struct {
	opts           Options
	lookupRequests chan string
	pingRequests   chan struct{}
	probes         sync.WaitGroup

	mu       sync.Mutex
	closed   bool
	services map[string]*Service
	names    map[string]*nameEntry
	online   [sourceCount]bool
	expected [sourceCount]bool // the source is configured, and has not been online yet
	failed   [sourceCount]bool // an expected source has tried to connect, and could not
	required [sourceCount]bool // the source was expected, and has not been removed since

	orchestrator Source // which one is in use

	initialSync atomic.Pointer[initialSync]
}

// New returns an empty registry. The caller must call [Registry.Close].
func New(opts Options) *Registry {
	if opts.OpenConns == nil {
		opts.OpenConns = func(string) Conns { return nil }
	}
	if opts.OnChange == nil {
		opts.OnChange = func(Change) {}
	}
	return &Registry{
		opts:           opts,
		lookupRequests: make(chan string, 64),
		pingRequests:   make(chan struct{}, 1),
		services:       make(map[string]*Service),
		names:          make(map[string]*nameEntry),
		orchestrator:   Engine,
	}
}

// Declare returns the service of a name such as "bigcapital-server:3000" ([ParseNames]), which it creates if needed, and takes a
// reference to it. A declared service has no probes and default settings until [Service.Configure].
// Give the reference back with [Service.Drop].
func (r *Registry) Declare(service string) (*Service, error) {
	names, err := ParseNames(service)
	if err != nil {
		return nil, err
	}
	service = joinNames(names)
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closed {
		return nil, ErrClosed
	}
	s := r.services[service]
	if s == nil {
		s = newService(r, service, names)
		r.services[service] = s
		for key := range s.keys() {
			n := r.nameEntry(key)
			n.services = append(n.services, s)
		}
		r.reconcile(s)
		r.requestLookups(s)
	}
	s.refs++
	return s, nil
}

// Hosts returns the hosts of the declared services, sorted: the names that sources look for.
func (r *Registry) Hosts() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	hosts := make(map[string]struct{}, len(r.services))
	for _, s := range r.services {
		for _, n := range s.names {
			hosts[n.Host] = struct{}{}
		}
	}
	return slices.Sorted(maps.Keys(hosts))
}

// LookupRequests returns the channel of host names that DNS should look up at once: a service was just declared, or a connection
// to it failed. Requests that nobody receives are dropped.
func (r *Registry) LookupRequests() <-chan string { return r.lookupRequests }

// PingRequests returns the channel on which the registry asks for a look at the orchestrator, such as a ping of the Docker Engine: a connection
// to an endpoint that it reports failed, so that the report may be outdated.
func (r *Registry) PingRequests() <-chan struct{} { return r.pingRequests }

// Close ends every probe and every wait ([ErrClosed]), and closes the endpoints' connections. It waits for the probes. Claims
// stay valid until released.
func (r *Registry) Close() {
	r.mu.Lock()
	r.closed = true
	services := slices.Collect(maps.Values(r.services))
	clear(r.services)
	clear(r.names)
	r.mu.Unlock()
	r.initialSync.Load().complete()
	for _, s := range services {
		s.close("the edge stops")
	}
	r.probes.Wait()
}

func (r *Registry) requestPing() {
	select {
	case r.pingRequests <- struct{}{}:
	default:
	}
}

// requestLookups requests a lookup of each of a service's names.
func (r *Registry) requestLookups(s *Service) {
	for _, n := range s.names {
		r.requestLookup(n.Host)
	}
}

func (r *Registry) requestLookup(host string) {
	select {
	case r.lookupRequests <- host:
	default:
	}
}
