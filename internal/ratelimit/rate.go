// Package ratelimit decides which of a client's requests are too many, in constant time and bounded memory.
package ratelimit

import (
	"errors"
	"fmt"
	"time"
)

// Rate is a token bucket: a key has Burst tokens, gets Events new ones in the course of each Window, and each request
// takes one. So no span of time d lets through more than Burst + Events × d ÷ Window requests.
type Rate struct {
	Events int           // at least 1
	Window time.Duration // at least a nanosecond for each event
	Burst  int           // at least 1
}

// Validate returns an error that says what is wrong with the rate, or nil.
func (r Rate) Validate() error {
	switch {
	case r.Events < 1:
		return errors.New("events: want at least 1")
	case r.Burst < 1:
		return errors.New("burst: want at least 1")
	case r.Window < time.Duration(r.Events):
		return fmt.Errorf("window %s is too short for %d events", r.Window, r.Events)
	case r.interval() > maxRefillTime/time.Duration(r.Burst):
		return fmt.Errorf("a burst of %d with %d in %s takes longer than %s to come back", r.Burst, r.Events, r.Window, maxRefillTime)
	}
	return nil
}

// maxRefillTime keeps sums of times far from the end of their type.
const maxRefillTime = 10 * 365 * 24 * time.Hour

// interval is how long one token takes to come back.
func (r Rate) interval() time.Duration { return r.Window / time.Duration(r.Events) }

// Decision is what became of a request.
type Decision struct {
	Allowed bool
	// It was allowed for want of room: the key's row was full of keys that have used up more.
	Uncounted bool
	// How many more would be allowed at once.
	Remaining int
	// When the next one is allowed, counted from now; 0 if Remaining is not.
	RetryAfter time.Duration
}

// decide is the token bucket in the form of the generic cell rate algorithm (ITU-T I.371): all that is kept of a key is
// the time at which its bucket will be full again. It returns that time, changed if the request is allowed.
func (r Rate) decide(full, now int64) (int64, Decision) {
	interval := int64(r.interval())
	most := interval * int64(r.Burst)
	// A rate that has been changed may have left more debt than it can make itself.
	after := min(max(full, now), now+most) + interval
	if debt := after - now; debt > most {
		return full, Decision{RetryAfter: time.Duration(debt - most)}
	}
	d := Decision{Allowed: true, Remaining: int((now + most - after) / interval)}
	if d.Remaining == 0 {
		d.RetryAfter = time.Duration(after + interval - now - most)
	}
	return after, d
}
