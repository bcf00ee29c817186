package certs

import (
	"fmt"
	"maps"
	"slices"
	"time"
)

const (
	// maxFailuresPerHour is how many attempts for one name may fail within an hour before the next one is held back. An attempt
	// places at most one order for each of the two challenge types: ten orders.
	maxFailuresPerHour = 5
	failurePeriod      = time.Hour
)

// retryIntervals are how long certmagic waits after each failed attempt; the last one repeats. They are not part of certmagic's
// API (async.go, retryIntervals, v0.25.6), so a time computed from them is approximate.
var retryIntervals = []time.Duration{
	1 * time.Minute, 2 * time.Minute, 2 * time.Minute, 5 * time.Minute, 10 * time.Minute, 10 * time.Minute, 10 * time.Minute,
	20 * time.Minute, 20 * time.Minute, 20 * time.Minute, 20 * time.Minute, 30 * time.Minute, 30 * time.Minute,
	30 * time.Minute, 30 * time.Minute, 30 * time.Minute, 30 * time.Minute, time.Hour, time.Hour, time.Hour, 2 * time.Hour,
	2 * time.Hour, 3 * time.Hour, 3 * time.Hour, 6 * time.Hour,
}

// Entry is what a [Tracker] knows about the certificate of one name. A time that does not apply is zero.
//
// Edges write entries to Caddy's storage as JSON, and edges of several versions may share a storage, so the JSON names stay as
// they are.
type Entry struct {
	Name           string         `json:"Name"`
	Managed        bool           `json:"Managed"`  // the edge obtains the certificate by itself
	AttemptRunning bool           `json:"Trying"`   // an attempt has begun and has not ended
	IsRenewal      bool           `json:"Renewal"`  // the last attempt was to renew an existing certificate
	Attempted      bool           `json:"Tried"`    // an attempt has ended
	Failures       int            `json:"Tries"`    // failed attempts since the last success
	Attempts       []time.Time    `json:"Attempts"` // the last hour's attempts that did not succeed, including those that a crash interrupted
	LastFailure    *Failure       `json:"Last"`     // nil after a success
	RetryNotBefore time.Time      `json:"NotUntil"` // the certificate authority wants no attempt before this time
	IsPermanent    bool           `json:"Final"`    // certmagic does not retry until the configuration is loaded again
	ServedNotAfter time.Time      `json:"Served"`   // when the certificate expires that was served at the last failure
	FailureCounts  map[Reason]int `json:"Counts"`   // since the edge started
	UpdatedAt      time.Time      `json:"Seen"`
}

// NextTry returns about when certmagic makes the next attempt. It is zero if the last attempt did not fail, or if certmagic does
// not retry.
func (e *Entry) NextTry(now time.Time) time.Time {
	if e.LastFailure == nil || e.Failures == 0 || e.IsPermanent {
		return time.Time{}
	}
	next := e.LastFailure.At.Add(retryIntervals[min(e.Failures, len(retryIntervals))-1])
	if until, _ := e.backoffUntil(now); until.After(next) {
		next = until
	}
	if next.Before(now) {
		return now // certmagic renews when it next checks all certificates
	}
	return next
}

// backoffUntil returns the time before which no attempt is made, and the reason. The time may be in the past.
func (e *Entry) backoffUntil(now time.Time) (until time.Time, reason string) {
	until, reason = e.RetryNotBefore, "the certificate authority has asked for a pause"
	if e.LastFailure != nil && e.LastFailure.Reason == Authority {
		reason = "the certificate authority reports errors of its own"
	}
	recent := e.recentAttempts(now)
	if n := len(recent); n >= maxFailuresPerHour {
		if free := recent[n-maxFailuresPerHour].Add(failurePeriod); free.After(until) {
			return free, fmt.Sprintf("%d attempts failed within an hour", n)
		}
	}
	return until, reason
}

// recentAttempts returns the attempts of the last hour.
func (e *Entry) recentAttempts(now time.Time) []time.Time {
	first := slices.IndexFunc(e.Attempts, func(t time.Time) bool { return now.Sub(t) < failurePeriod })
	if first < 0 {
		return nil
	}
	return e.Attempts[first:]
}

// addAttempt adds an attempt, and drops those that are older than an hour.
func (e *Entry) addAttempt(now time.Time) {
	e.Attempts = append(slices.Clone(e.recentAttempts(now)), now)
}

func (e *Entry) markSucceeded() {
	e.Attempted, e.Failures, e.LastFailure, e.IsPermanent = true, 0, nil, false
	e.Attempts, e.RetryNotBefore = nil, time.Time{}
}

// merge adds the failures that another entry of the same name has recorded.
func (e *Entry) merge(other Entry) {
	e.Attempts = mergeTimes(e.Attempts, other.Attempts)
	if other.RetryNotBefore.After(e.RetryNotBefore) {
		e.RetryNotBefore = other.RetryNotBefore
	}
	if other.LastFailure != nil && (e.LastFailure == nil || other.LastFailure.At.After(e.LastFailure.At)) {
		e.LastFailure, e.Attempted, e.ServedNotAfter = other.LastFailure, true, other.ServedNotAfter
		e.Failures = max(e.Failures, other.Failures)
	}
}

// mergeTimes returns the times of two sorted lists, sorted, without duplicates.
func mergeTimes(a, b []time.Time) []time.Time {
	all := slices.SortedFunc(slices.Values(slices.Concat(a, b)), time.Time.Compare)
	return slices.CompactFunc(all, time.Time.Equal)
}

func (e *Entry) clone() Entry {
	c := *e
	c.Attempts = slices.Clone(e.Attempts)
	c.FailureCounts = maps.Clone(e.FailureCounts)
	return c
}

// BackoffError reports that a [Tracker] does not allow an attempt yet.
type BackoffError struct {
	Name   string
	Until  time.Time
	Reason string
}

// Error names the certificate, the time of the next attempt and the reason.
func (e *BackoffError) Error() string {
	return fmt.Sprintf("%s: held back until %s: %s", e.Name, e.Until.Format(time.TimeOnly), e.Reason)
}
