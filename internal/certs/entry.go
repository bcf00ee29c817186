package certs

import (
	"time"
)

// retryIntervals are how long certmagic waits after each failed attempt; the last one is repeated. They are not part of its API
// (async.go, retryIntervals, v0.25.6), so what is made of them is about right, and said so.
var retryIntervals = []time.Duration{
	1 * time.Minute, 2 * time.Minute, 2 * time.Minute, 5 * time.Minute, 10 * time.Minute, 10 * time.Minute, 10 * time.Minute,
	20 * time.Minute, 20 * time.Minute, 20 * time.Minute, 20 * time.Minute, 30 * time.Minute, 30 * time.Minute,
	30 * time.Minute, 30 * time.Minute, 30 * time.Minute, 30 * time.Minute, time.Hour, time.Hour, time.Hour, 2 * time.Hour,
	2 * time.Hour, 3 * time.Hour, 3 * time.Hour, 6 * time.Hour,
}

// NextTry returns about when the next attempt is made: never, which is zero, if the last one did not fail.
func (e *Entry) NextTry(now time.Time) time.Time {
	if e.Last == nil || e.Tries == 0 || e.Final {
		return time.Time{}
	}
	next := e.Last.At.Add(retryIntervals[min(e.Tries, len(retryIntervals))-1])
	if until, _ := e.backoffUntil(now); until.After(next) {
		next = until
	}
	if next.Before(now) {
		return now // renewals wait for the next look at all certificates
	}
	return next
}
