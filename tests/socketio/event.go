package socketio

import (
	"fmt"
	"time"
)

// The kinds of events. fleet.js lists the fields of each.
const (
	Open      = "open"
	Closed    = "closed"
	Refused   = "refused"
	Failed    = "failed"
	Misrouted = "misrouted"
	Answered  = "answered"
	Stalled   = "stalled"
	Idle      = "idle"
	Total     = "total"
)

// Event is something that happened to a client.
type Event struct {
	Kind       string `json:"event"`
	At         int64  `json:"at"` // Unix time in milliseconds
	Client     string `json:"client"`
	SID        string `json:"sid"`
	Server     string `json:"server"` // the one that began the session: the first 12 characters of its container's ID
	AnsweredBy string `json:"by"`     // the server that answered; "": the proxy
	Transport  string `json:"transport"`
	Reason     string `json:"reason"` // from the library
	Cause      string `json:"cause"`  // the first error of the session, if there was one: ECONNRESET, status 400
	Status     int    `json:"status"`
	Body       string `json:"body"`
	Code       int    `json:"code"` // of the WebSocket's close frame; 1006 without one
	Lost       int    `json:"lost"` // messages without an answer
	Millis     int    `json:"ms"`   // for which the fleet could not run
	Sent       int    `json:"sent"`
	Answered   int    `json:"answered"`
}

// Time returns the time of the event.
func (e Event) Time() time.Time { return time.UnixMilli(e.At) }

// String returns the event in a line.
func (e Event) String() string {
	return fmt.Sprintf("%s %s %s: session %s of %q, by %q, %s %s, status %d %s, code %d, %d lost",
		e.Time().Format("15:04:05.000"), e.Client, e.Kind, e.SID, e.Server, e.AnsweredBy, e.Reason, e.Cause, e.Status, e.Body, e.Code, e.Lost)
}
