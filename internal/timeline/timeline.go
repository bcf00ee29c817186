// Package timeline keeps the last events of the edge, for the status page.
package timeline

import (
	"sync"
	"time"
)

// Length is how many events are kept.
const Length = 200

// Kind is what an event is about.
type Kind string

// The kinds.
const (
	Endpoint    Kind = "endpoint"    // an endpoint has entered a state
	Deploy      Kind = "deploy"      // a new endpoint of a service
	Drain       Kind = "drain"       // an operator drains an endpoint, or no longer does
	Maintenance Kind = "maintenance" // of a service, by an operator
	Reload      Kind = "reload"      // a configuration is in force
	Source      Kind = "source"      // a source of endpoints is connected, or no longer is
	Certificate Kind = "certificate"
	Backup      Kind = "backup"
	Resource    Kind = "resource" // the edge has run out of something of its own
)

// Level is how bad an event is.
type Level string

// The levels.
const (
	Info    Level = "info"
	Warning Level = "warning"
	Error   Level = "error"
)

// Event is something that happened. It has no secrets and no addresses.
type Event struct {
	Number   uint64    `json:"number"` // of the first event 1, and so on
	Time     time.Time `json:"time"`
	Kind     Kind      `json:"kind"`
	Level    Level     `json:"level"`
	Service  string    `json:"service,omitempty"`
	Endpoint string    `json:"endpoint,omitempty"` // its name, or its identity
	Text     string    `json:"text"`
	IsNew    bool      `json:"is_new,omitempty"` // a container serves from now on that did not before
}

// Timeline has the last events. The zero Timeline is ready to use, and safe for concurrent use.
type Timeline struct {
	mu       sync.Mutex
	events   []Event // a ring, once it has Length events
	last     uint64
	watchers map[chan struct{}]struct{}
}

// Add adds an event, and gives it its number. It never blocks.
func (t *Timeline) Add(e Event) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.last++
	e.Number = t.last
	if e.Time.IsZero() {
		e.Time = time.Now()
	}
	if len(t.events) < Length {
		t.events = append(t.events, e)
	} else {
		t.events[(t.last-1)%Length] = e
	}
	for changed := range t.watchers {
		select {
		case changed <- struct{}{}:
		default: // it has not seen the event before yet
		}
	}
}

// Since returns the events after the one with a number, the oldest first: as many of them as there are.
func (t *Timeline) Since(number uint64) []Event {
	t.mu.Lock()
	defer t.mu.Unlock()
	oldest := t.last - uint64(len(t.events))
	events := []Event{}
	for n := max(number, oldest); n < t.last; n++ {
		events = append(events, t.events[n%Length])
	}
	return events
}

// Watch returns a channel that gets a value after an event, until stop is called. Several events may cause one value.
func (t *Timeline) Watch() (changed <-chan struct{}, stop func()) {
	c := make(chan struct{}, 1)
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.watchers == nil {
		t.watchers = make(map[chan struct{}]struct{})
	}
	t.watchers[c] = struct{}{}
	return c, func() {
		t.mu.Lock()
		defer t.mu.Unlock()
		delete(t.watchers, c)
	}
}
