package socketio

import (
	"fmt"
	"io"
	"maps"
	"time"
)

// The kinds of events. fleet.js says which fields each has.
const (
	Open      = "open"
	Closed    = "closed"
	Refused   = "refused"
	Failed    = "failed"
	Misrouted = "misrouted"
	Answered  = "answered"
	Idle      = "idle"
	Total     = "total"
)

// Event is something that happened to a client.
type Event struct {
	Kind       string `json:"event"`
	At         int64  `json:"at"` // milliseconds since 1970
	Client     string `json:"client"`
	SID        string `json:"sid"`
	Server     string `json:"server"` // that began the session: the first 12 characters of its container's ID
	AnsweredBy string `json:"by"`     // the server that answered, "" for the proxy itself
	Transport  string `json:"transport"`
	Reason     string `json:"reason"` // as the library says it
	Cause      string `json:"cause"`  // what was behind it, if that is known: ECONNRESET, status 400
	Status     int    `json:"status"`
	Body       string `json:"body"`
	Code       int    `json:"code"` // of a WebSocket's close frame; 1006 if there was none
	Lost       int    `json:"lost"` // messages without an answer
	Sent       int    `json:"sent"`
	Answered   int    `json:"answered"`
}

// Time returns when it happened.
func (e Event) Time() time.Time { return time.UnixMilli(e.At) }

// String returns the event in a line.
func (e Event) String() string {
	return fmt.Sprintf("%s %s %s: session %s of %q, by %q, %s %s, status %d %s, code %d, %d lost",
		e.Time().Format("15:04:05.000"), e.Client, e.Kind, e.SID, e.Server, e.AnsweredBy, e.Reason, e.Cause, e.Status, e.Body, e.Code, e.Lost)
}

func (f *Fleet) record(e Event) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.events[e.Kind] = append(f.events[e.Kind], e)
	switch e.Kind {
	case Open:
		f.sessions[e.Client] = e
	case Closed:
		delete(f.sessions, e.Client)
	case Answered:
		f.answered[e.Client] = true
	}
}

// Events returns what has happened of one kind, in order.
func (f *Fleet) Events(kind string) []Event {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.events[kind][:len(f.events[kind]):len(f.events[kind])]
}

// Sessions returns the events that opened the sessions which there are now, by client.
func (f *Fleet) Sessions() map[string]Event {
	f.mu.Lock()
	defer f.mu.Unlock()
	return maps.Clone(f.sessions)
}

// ResetAnswered begins to count anew which clients are answered, in [Fleet.AnsweredCount].
func (f *Fleet) ResetAnswered() error {
	f.mu.Lock()
	clear(f.answered)
	f.mu.Unlock()
	return f.sendCommand("mark")
}

// AnsweredCount returns how many clients were answered something that they said after the last mark.
func (f *Fleet) AnsweredCount() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return len(f.answered)
}

// Pause has the clients keep back what they would send. A Quiet event follows when nothing is under way any more, after
// about the time in which each says something. It is for clients that poll.
func (f *Fleet) Pause() error { return f.sendCommand("pause") }

// Resume lets go what Hold kept back.
func (f *Fleet) Resume() error { return f.sendCommand("resume") }

func (f *Fleet) sendCommand(command string) error {
	if _, err := io.WriteString(f.input, command+"\n"); err != nil {
		return fmt.Errorf("tell the fleet to %s: %w", command, err)
	}
	return nil
}
