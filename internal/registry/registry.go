// Package registry knows, at every instant, which endpoints can take a request for which service.
//
// Sources (Docker Engine, DNS, a static list) write what they see through a [Feed]; probes report what answers;
// the request path only reads: [Service.Acquire] picks an endpoint and counts the request on it.
// Data flows one way, and nothing on the request path asks DNS or Docker.
package registry

import (
	"fmt"
	"maps"
	"net"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
)

// Options are what a registry is made with. The zero value is usable: endpoints then have no [Conns] and
// nobody is told of changes.
type Options struct {
	// OpenConns makes the connections of a new endpoint at addr ("172.18.0.7:3000"). It must not block.
	OpenConns func(addr string) Conns
	// OnChange is told of every change of an endpoint's state, in order, with the service locked: it must not
	// call back into the registry and must not block.
	OnChange func(Change)
}

// Registry holds the services and what the sources say of the names they stand on. It is safe for concurrent
// use and outlives configuration reloads.
//
// Lock order: Registry.mu before Service.mu. [Service.Acquire] takes the service's lock alone.
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
	expected [sourceCount]bool // configured, but has not been online yet
	failed   [sourceCount]bool // of those: it has tried, and can't be reached

	initialSync atomic.Pointer[initialSync]
}

// New returns an empty registry. End it with [Registry.Close].
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
	}
}

// Declare returns the service of a name such as "bigcapital-server:3000" and takes a reference to it, making it
// if it is new. A declared service has no probes and default settings until [Service.Configure].
// Give the reference back with [Service.Drop].
func (r *Registry) Declare(service string) (*Service, error) {
	host, port, err := ParseName(service)
	if err != nil {
		return nil, err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closed {
		return nil, ErrClosed
	}
	s := r.services[service]
	if s == nil {
		s = newService(r, service, host, port)
		r.services[service] = s
		for _, key := range s.keys() {
			n := r.nameEntry(key)
			n.services = append(n.services, s)
		}
		r.reconcile(s)
		r.requestLookup(host)
	}
	s.refs++
	return s, nil
}

// Hosts returns the host names that declared services stand on, sorted: what a source that must ask needs to ask for.
func (r *Registry) Hosts() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	hosts := make(map[string]struct{}, len(r.services))
	for _, s := range r.services {
		hosts[s.host] = struct{}{}
	}
	return slices.Sorted(maps.Keys(hosts))
}

// LookupRequests delivers a host name when it is worth asking for at once: it was just declared, or a dial to it was refused.
// When nobody listens, nudges are dropped.
func (r *Registry) LookupRequests() <-chan string { return r.lookupRequests }

// PingRequests delivers something when an endpoint that the Engine says is there could not be dialled: its word may be old.
func (r *Registry) PingRequests() <-chan struct{} { return r.pingRequests }

// Close ends every probe and every wait ([ErrClosed]) and closes the endpoints' links. Claims stay valid until released.
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

// ParseName splits a service's name into host and port. The host is a Compose service, container or DNS name;
// the port is a number from 1 to 65535.
func ParseName(service string) (host string, port uint16, err error) {
	host, text, err := net.SplitHostPort(service)
	if err != nil || host == "" {
		return "", 0, fmt.Errorf("service %q: want NAME:PORT, such as bigcapital-server:3000", service)
	}
	n, err := strconv.ParseUint(text, 10, 16)
	if err != nil || n == 0 {
		return "", 0, fmt.Errorf("service %q: the port must be a number from 1 to 65535", service)
	}
	if strings.ContainsAny(host, "/{}@ \t") {
		return "", 0, fmt.Errorf("service %q: %q is not a name that Docker could give", service, host)
	}
	if host != strings.ToLower(host) {
		return "", 0, fmt.Errorf("service %q: names are compared in lower case; write %q", service, strings.ToLower(service))
	}
	return host, uint16(n), nil
}

func (r *Registry) requestPing() {
	select {
	case r.pingRequests <- struct{}{}:
	default:
	}
}

func (r *Registry) requestLookup(host string) {
	select {
	case r.lookupRequests <- host:
	default:
	}
}

// StopHolding ends all waits with [ErrClosed], now and from now on, but leaves endpoints and claims alone: the process is
// about to end, and what is under way may finish.
func (r *Registry) StopHolding() {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, s := range r.services {
		s.mu.Lock()
		if !s.closed && !s.holdingStopped {
			s.holdingStopped = true
			s.broadcast()
		}
		s.mu.Unlock()
	}
}
