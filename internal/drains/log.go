package drains

import (
	"crypto/rand"
	"slices"

	"github.com/theworklabs/edge/internal/stored"
)

// maxEvents is how many events the storage keeps. Edges read it every second, and do not need older ones.
const maxEvents = 64

// event is what an operator asked one edge to do.
type event struct {
	Number    int64    `json:"number"` // as they were stored: edges need no common clock
	Edge      string   `json:"edge"`   // a random name of the process that was asked
	Endpoints []string `json:"endpoints"`
	Undo      bool     `json:"undo,omitempty"`
	// SessionSeconds is for how long the endpoints get requests of their sessions.
	SessionSeconds float64 `json:"session_seconds,omitempty"`
}

// eventLog is what the storage has: the last events. It says what happened, not which endpoints are drained: they may have exited since, or have started
// again, while no edge ran.
type eventLog struct {
	ID     string  `json:"id"` // another one: the storage has been replaced
	Last   int64   `json:"last"`
	Events []event `json:"events"` // by number
}

var storedLog = stored.Value[eventLog]{Key: "edge/drains.json", Repair: "the next `edge drain` writes it anew, and is to be repeated"}

func newEventLog() *eventLog { return &eventLog{ID: rand.Text()} }

// add appends an event.
func (l *eventLog) add(e event) {
	l.Last++
	e.Number = l.Last
	l.Events = append(l.Events, e)
	l.Events = slices.Delete(l.Events, 0, max(0, len(l.Events)-maxEvents))
}

// after returns the events with higher numbers.
func (l *eventLog) after(number int64) []event {
	i, _ := slices.BinarySearchFunc(l.Events, number+1, func(e event, n int64) int { return int(e.Number - n) })
	return l.Events[i:]
}
