// Package certs remembers what became of each certificate that was asked for: when it was tried, what went wrong in words,
// and when it will be tried again.
package certs

import (
	"fmt"
	"slices"
	"sync"
	"time"
)

const (
	// maxFailuresPerHour is how many attempts for one name may be made in vain within an hour before the next one is held back. An attempt is an
	// order for each kind of challenge at most, of which there are two: ten orders.
	maxFailuresPerHour = 5
	failurePeriod      = time.Hour

	// overloadBackoff is how long an authority is left alone that answers, twice within an hour, that it is out of order. It is sent
	// three requests for an order in each attempt then: nine an hour.
	overloadBackoff = 30 * time.Minute

	// maxNames bounds the book: names that clients ask for (on-demand TLS) must not fill it.
	maxNames = 10_000
)

// Tracker is safe for concurrent use. The zero value is ready.
type Tracker struct {
	mu      sync.Mutex
	entries map[string]*Entry
}

// Entry is what is known of one name. Times are zero if there is none.
type Entry struct {
	Name     string
	Managed  bool        // whether the edge obtains it by itself
	Trying   bool        // an attempt is under way
	Renewal  bool        // the last attempt was to renew what there is
	Tried    bool        // an attempt has ended
	Tries    int         // failed attempts since the last success
	Attempts []time.Time // those of the last hour that have not succeeded, also one that a crash cut short
	Last     *Failure    // the last failure, nil after a success
	NotUntil time.Time   // no attempt is made before, for the authority's sake
	Final    bool        // it is not tried again until the configuration is loaded anew
	Served   time.Time   // until when the certificate was good that there was when the last attempt failed
	Counts   map[Reason]int
	Seen     time.Time // when something was last heard of it
}

// BackoffError is why an attempt is not made.
type BackoffError struct {
	Name   string
	Until  time.Time
	Reason string
}

func (e *BackoffError) Error() string {
	return fmt.Sprintf("%s: held back until %s: %s", e.Name, e.Until.Format(time.TimeOnly), e.Reason)
}

// BeginAttempt is told that an attempt is about to be made, and says with a [*BackoffError] if it must not be: too many have
// failed, also before a restart or a reload, or the authority has said when it wants to be asked again.
func (b *Tracker) BeginAttempt(name string, renewal bool) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	e, now := b.getOrCreate(name), time.Now()
	if e == nil {
		return nil
	}
	e.Managed = true
	if until, why := e.backoffUntil(now); until.After(now) {
		return &BackoffError{name, until, why}
	}
	e.Attempts = append(slices.Clone(e.recentAttempts(now)), now)
	e.Trying, e.Renewal, e.Final = true, renewal, false
	return nil
}

// backoffUntil returns until when no attempt is made, and why.
func (e *Entry) backoffUntil(now time.Time) (time.Time, string) {
	until, why := e.NotUntil, "the certificate authority wants no request before"
	if e.Last != nil && e.Last.Reason == Authority {
		why = "the certificate authority is out of order"
	}
	recent := e.recentAttempts(now)
	if n := len(recent); n >= maxFailuresPerHour {
		if free := recent[n-maxFailuresPerHour].Add(failurePeriod); free.After(until) {
			return free, fmt.Sprintf("%d attempts were in vain within an hour", n)
		}
	}
	return until, why
}

// recentAttempts returns the attempts of the last hour.
func (e *Entry) recentAttempts(now time.Time) []time.Time {
	first := slices.IndexFunc(e.Attempts, func(t time.Time) bool { return now.Sub(t) < failurePeriod })
	if first < 0 {
		return nil
	}
	return e.Attempts[first:]
}

// RecordFailure is told that an attempt has failed, and returns what is known now, and whether that is news: another reason than
// before, or an hour has passed since it was. alone says whether there is no other authority that could be asked meanwhile;
// served is until when the certificate is good that there is, zero if there is none.
func (b *Tracker) RecordFailure(name string, err error, alone bool, served time.Time) (e Entry, news bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	entry, now := b.getOrCreate(name), time.Now()
	f := newFailure(name, err)
	f.At = now
	if entry == nil {
		return Entry{Name: name, Last: &f, Tries: 1}, true
	}
	before := entry.Last
	news = before == nil || before.Reason != f.Reason || now.Sub(before.LoggedAt) >= failurePeriod
	f.LoggedAt = now
	if !news {
		f.LoggedAt = before.LoggedAt
	}
	if !entry.Trying {
		entry.Attempts = append(slices.Clone(entry.recentAttempts(now)), now)
	}
	entry.Trying, entry.Tried, entry.Last = false, true, &f
	entry.Tries++
	entry.Final, entry.Served = f.isPermanent, served
	entry.NotUntil = time.Time{}
	if alone {
		entry.NotUntil = f.retryNotBefore(now, len(entry.recentAttempts(now)))
	}
	entry.Counts[f.Reason]++
	return entry.clone(), news
}

// RecordSuccess is told that an attempt has succeeded, and returns how many had failed before.
func (b *Tracker) RecordSuccess(name string) (failed int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	e := b.getOrCreate(name)
	if e == nil {
		return 0
	}
	failed = e.Tries
	e.Managed, e.Trying = true, false
	e.markSucceeded()
	return failed
}

func (e *Entry) markSucceeded() {
	e.Tried, e.Tries, e.Last, e.Final = true, 0, nil, false
	e.Attempts, e.NotUntil = nil, time.Time{}
}

// RecordLoaded is told that there is a certificate for a name.
func (b *Tracker) RecordLoaded(name string, managed bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if e := b.getOrCreate(name); e != nil {
		e.Managed = managed
	}
}

// RecordServed is told until when the certificate of a name is good that is served now. One that lasts longer than the one that there was
// when an attempt failed ends that failure: another edge with the same storage has obtained it.
func (b *Tracker) RecordServed(name string, until time.Time) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if e := b.entries[name]; e != nil && e.Managed && !e.Trying && e.Last != nil && until.After(e.Served) {
		e.markSucceeded()
	}
}

// Restore adds what is known of a name from before a restart, or from other edges with the same storage: what failed, and
// nothing else.
func (b *Tracker) Restore(old Entry) {
	b.mu.Lock()
	defer b.mu.Unlock()
	e := b.getOrCreate(old.Name)
	if e == nil {
		return
	}
	e.Attempts = mergeTimes(e.Attempts, old.Attempts)
	if old.NotUntil.After(e.NotUntil) {
		e.NotUntil = old.NotUntil
	}
	if old.Last != nil && (e.Last == nil || old.Last.At.After(e.Last.At)) {
		e.Last, e.Tries, e.Tried, e.Served = old.Last, max(e.Tries, old.Tries), true, old.Served
	}
}

// mergeTimes returns all times of two sorted lists, sorted, each once.
func mergeTimes(a, b []time.Time) []time.Time {
	all := slices.SortedFunc(slices.Values(slices.Concat(a, b)), time.Time.Compare)
	return slices.CompactFunc(all, time.Time.Equal)
}

// Entry returns what is known of a name.
func (b *Tracker) Entry(name string) (Entry, bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	e := b.entries[name]
	if e == nil {
		return Entry{}, false
	}
	return e.clone(), true
}

// Entries returns all that is known, sorted by name.
func (b *Tracker) Entries() []Entry {
	b.mu.Lock()
	defer b.mu.Unlock()
	all := make([]Entry, 0, len(b.entries))
	for _, e := range b.entries {
		all = append(all, e.clone())
	}
	slices.SortFunc(all, func(x, y Entry) int {
		switch {
		case x.Name < y.Name:
			return -1
		case x.Name > y.Name:
			return 1
		}
		return 0
	})
	return all
}

func (e *Entry) clone() Entry {
	c := *e
	c.Attempts = slices.Clone(e.Attempts)
	c.Counts = make(map[Reason]int, len(e.Counts))
	for reason, n := range e.Counts {
		c.Counts[reason] = n
	}
	return c
}

// getOrCreate returns the entry of a name, a new one if there is none, or nil if the book is full. b.mu is held.
func (b *Tracker) getOrCreate(name string) *Entry {
	e := b.entries[name]
	if e == nil {
		if len(b.entries) >= maxNames {
			return nil
		}
		if b.entries == nil {
			b.entries = make(map[string]*Entry)
		}
		e = &Entry{Name: name, Counts: make(map[Reason]int)}
		b.entries[name] = e
	}
	e.Seen = time.Now()
	return e
}
