// Package certs tracks the attempts to obtain each certificate: when they were made, why they failed, in words, and when the next
// one may be made.
package certs

import (
	"slices"
	"strings"
	"sync"
	"time"
)

// maxNames limits the entries of a [Tracker]: names that clients ask for (on-demand TLS) must not exhaust the memory.
const maxNames = 10_000

// Tracker records the attempts for each name, and holds back an attempt that would come too early. The zero value is ready, and
// methods may be called concurrently.
type Tracker struct {
	mu      sync.Mutex
	entries map[string]*Entry
}

// BeginAttempt records that an attempt begins. It returns a [*BackoffError] if the attempt must not be made: too many have failed,
// including those before a restart or a reload, or the certificate authority has asked for a pause.
func (t *Tracker) BeginAttempt(name string, isRenewal bool) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	e, now := t.getOrCreate(name), time.Now()
	if e == nil {
		return nil
	}
	e.Managed = true
	if until, reason := e.backoffUntil(now); until.After(now) {
		return &BackoffError{name, until, reason}
	}
	e.addAttempt(now)
	e.AttemptRunning, e.IsRenewal, e.IsPermanent = true, isRenewal, false
	return nil
}

// RecordFailure records that an attempt has failed, and returns the entry. isNews reports whether the failure is to be logged: its
// reason differs from the one before, or the last one was logged an hour ago. isOnlyAuthority says that no other certificate
// authority can be asked meanwhile. servedNotAfter is when the certificate expires that is served now, zero if there is none.
func (t *Tracker) RecordFailure(name string, err error, isOnlyAuthority bool, servedNotAfter time.Time) (entry Entry, isNews bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	e, now := t.getOrCreate(name), time.Now()
	f := newFailure(name, err)
	f.At = now
	if e == nil {
		return Entry{Name: name, LastFailure: &f, Failures: 1}, true
	}
	last := e.LastFailure
	isNews = last == nil || last.Reason != f.Reason || now.Sub(last.LoggedAt) >= failurePeriod
	f.LoggedAt = now
	if !isNews {
		f.LoggedAt = last.LoggedAt
	}
	if !e.AttemptRunning {
		e.addAttempt(now)
	}
	e.AttemptRunning, e.Attempted, e.LastFailure = false, true, &f
	e.Failures++
	e.IsPermanent, e.ServedNotAfter = f.isPermanent, servedNotAfter
	e.RetryNotBefore = time.Time{}
	if isOnlyAuthority {
		e.RetryNotBefore = f.retryNotBefore(now, len(e.recentAttempts(now)))
	}
	e.FailureCounts[f.Reason]++
	return e.clone(), isNews
}

// RecordSuccess records that an attempt has succeeded, and returns how many attempts had failed before it.
func (t *Tracker) RecordSuccess(name string) (failures int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	e := t.getOrCreate(name)
	if e == nil {
		return 0
	}
	failures = e.Failures
	e.Managed, e.AttemptRunning = true, false
	e.markSucceeded()
	return failures
}

// RecordLoaded records that a certificate for a name has been loaded, and whether the edge obtains it by itself.
func (t *Tracker) RecordLoaded(name string, managed bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if e := t.getOrCreate(name); e != nil {
		e.Managed = managed
	}
}

// RecordServed records when the certificate expires that is served for a name. If that is later than it was at the last failure,
// another edge that shares the storage has obtained a certificate, and the failure is cleared.
func (t *Tracker) RecordServed(name string, notAfter time.Time) {
	t.mu.Lock()
	defer t.mu.Unlock()
	e := t.entries[name]
	if e != nil && e.Managed && !e.AttemptRunning && e.LastFailure != nil && notAfter.After(e.ServedNotAfter) {
		e.markSucceeded()
	}
}

// Restore adds the failures that an entry from before a restart, or from another edge that shares the storage, has recorded. It
// takes nothing else from that entry.
func (t *Tracker) Restore(saved Entry) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if e := t.getOrCreate(saved.Name); e != nil {
		e.merge(saved)
	}
}

// Entry returns a copy of the entry of a name.
func (t *Tracker) Entry(name string) (Entry, bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	e := t.entries[name]
	if e == nil {
		return Entry{}, false
	}
	return e.clone(), true
}

// Entries returns copies of all entries, sorted by name.
func (t *Tracker) Entries() []Entry {
	t.mu.Lock()
	defer t.mu.Unlock()
	all := make([]Entry, 0, len(t.entries))
	for _, e := range t.entries {
		all = append(all, e.clone())
	}
	slices.SortFunc(all, func(a, b Entry) int { return strings.Compare(a.Name, b.Name) })
	return all
}

// getOrCreate returns the entry of a name, a new one if there is none, or nil if there are too many. The caller holds t.mu.
func (t *Tracker) getOrCreate(name string) *Entry {
	e := t.entries[name]
	if e == nil {
		if len(t.entries) >= maxNames {
			return nil
		}
		if t.entries == nil {
			t.entries = make(map[string]*Entry)
		}
		e = &Entry{Name: name, FailureCounts: make(map[Reason]int)}
		t.entries[name] = e
	}
	e.UpdatedAt = time.Now()
	return e
}
