package edge

import (
	"maps"
	"sync"
	"time"

	"github.com/theworklabs/edge/internal/registry"
)

// newEndpoints tells containers that are new from those that Docker has restarted, and from those that an edge finds when it starts: only the first ones are what may have brought an
// error. The zero value is ready to use.
type newEndpoints struct {
	mu        sync.Mutex
	services  map[string]time.Time // when the first endpoint of a service was seen
	endpoints map[[2]string]*seenEndpoint
}

type seenEndpoint struct {
	first    time.Time // when it was seen
	wasReady bool
	isGone   time.Time // when it was; the zero time if it is there
}

const (
	// discoveryTime is how long an edge may take to find the endpoints that are there when it starts.
	discoveryTime = 10 * time.Second
	// goneTime is how long a container may be stopped that is started again, and is no new one.
	goneTime = 24 * time.Hour
)

// note notes a change, and reports whether an endpoint serves that is new.
func (n *newEndpoints) note(c registry.Change) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.services == nil {
		n.services, n.endpoints = make(map[string]time.Time), make(map[[2]string]*seenEndpoint)
	}
	if n.services[c.Service].IsZero() {
		n.services[c.Service] = c.Time
	}
	key := [2]string{c.Service, c.Endpoint}
	e := n.endpoints[key]
	if e == nil {
		maps.DeleteFunc(n.endpoints, func(_ [2]string, e *seenEndpoint) bool { return !e.isGone.IsZero() && c.Time.Sub(e.isGone) > goneTime })
		e = &seenEndpoint{first: c.Time}
		n.endpoints[key] = e
	}
	e.isGone = time.Time{}
	if c.To == registry.Gone {
		e.isGone = c.Time
	}
	isFirst := c.To == registry.Ready && !e.wasReady
	e.wasReady = e.wasReady || isFirst
	return isFirst && e.first.Sub(n.services[c.Service]) > discoveryTime
}
