// Package ratelimit limits the requests of many keys, such as clients, in constant time and bounded memory.
package ratelimit

import (
	"errors"
	"fmt"
	"time"
)

// Rate is a token bucket: a key has Burst tokens, gets Events new ones over each Window, and each allowed request takes one. So at
// most Burst + Events × d ÷ Window requests are allowed in a time d.
type Rate struct {
	Events int           // at least 1
	Window time.Duration // at least a nanosecond for each event
	Burst  int           // at least 1
}

// Validate returns an error if a value is out of its range.
func (r Rate) Validate() error {
	switch {
	case r.Events < 1:
		return errors.New("events: want at least 1")
	case r.Burst < 1:
		return errors.New("burst: want at least 1")
	case r.Window < time.Duration(r.Events):
		return fmt.Errorf("window %s is too short for %d events", r.Window, r.Events)
	case r.interval() > maxRefillTime/time.Duration(r.Burst):
		return fmt.Errorf("a burst of %d with %d in %s takes longer than %s to refill", r.Burst, r.Events, r.Window, maxRefillTime)
	}
	return nil
}

// maxRefillTime keeps sums of times far from an overflow.
const maxRefillTime = 10 * 365 * 24 * time.Hour

// interval returns the time in which a key gets one token.
func (r Rate) interval() time.Duration { return r.Window / time.Duration(r.Events) }

// Decision is the result of [Limiter.Take] for one request.
type Decision struct {
	Allowed bool
	// The request is allowed, and not counted: the key's row is full of keys that have used more tokens.
	Uncounted bool
	// How many more requests are allowed now.
	Remaining int
	// The time until the next request is allowed; 0 if Remaining is above 0.
	RetryAfter time.Duration
}

// decide is the token bucket as the generic cell rate algorithm (ITU-T I.371): the state of a key is the time at which its bucket is
// full. decide returns that time, which is later than before if the request is allowed. Times are nanoseconds since the epoch.
func (r Rate) decide(fullAt, now int64) (int64, Decision) {
	interval := int64(r.interval())
	refillTime := interval * int64(r.Burst)
	// If the rate has changed, the former one may have left a later time than this rate can.
	next := min(max(fullAt, now), now+refillTime) + interval
	if excess := next - now - refillTime; excess > 0 {
		return fullAt, Decision{RetryAfter: time.Duration(excess)}
	}
	d := Decision{Allowed: true, Remaining: int((now + refillTime - next) / interval)}
	if d.Remaining == 0 {
		d.RetryAfter = time.Duration(next + interval - now - refillTime)
	}
	return next, d
}
