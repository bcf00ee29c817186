package ratelimit

import (
	"hash/maphash"
	"math/bits"
	"sync"
	"time"
)

// Limiter keeps what the requests of many keys leave behind: 16 bytes a key, in a table whose size never changes. It is
// safe for concurrent use.
//
// A key's place is one of the eight of its row. In a full row a new key takes the place of the one that is closest to a
// full bucket, if that is closer than itself; else it passes, uncounted. So whoever floods it with new keys, each used once,
// displaces his own: a key that has used up more than one token loses nothing to them. With as many keys at a time as it was made
// for, one in a thousand shares a full row.
type Limiter struct {
	seed  maphash.Seed
	epoch time.Time
	now   func() time.Time
	mask  uint64
	rows  []row
	locks [256]struct {
		sync.Mutex
		_ [56]byte // a cache line each
	}
}

// row is where keys of the same hash bits are. It is two cache lines.
type row [8]slot

// slot is one key: its hash, and when its bucket will be full, in nanoseconds since the epoch. An empty slot has full 0.
type slot struct {
	hash   uint64
	fullAt int64
}

// New returns a limiter for up to keys distinct keys at a time; it has four to eight times as many places (a power of two), so
// that hardly any row is full before. Untouched rows take no memory.
func New(keys int) *Limiter {
	return newLimiter(keys, time.Now)
}

func newLimiter(keys int, now func() time.Time) *Limiter {
	n := 1 << bits.Len(uint(max(4*keys/len(row{})-1, 0)))
	// A moment after the epoch, so that no time of a key is 0.
	return &Limiter{seed: maphash.MakeSeed(), epoch: now().Add(-time.Second), now: now, mask: uint64(n - 1), rows: make([]row, n)}
}

// Seed is what keys must be hashed with: it is random, so that nobody outside can choose keys that meet.
func (l *Limiter) Seed() maphash.Seed { return l.seed }

// Take decides on one request of a key, which is its hash. The same key may be asked about with changing rates.
func (l *Limiter) Take(key uint64, rate Rate) Decision {
	index := key & l.mask
	lock := &l.locks[index%uint64(len(l.locks))]
	lock.Lock()
	defer lock.Unlock()
	now := int64(l.now().Sub(l.epoch))
	place := l.rows[index].findSlot(key)
	if place.hash != key {
		full, d := rate.decide(0, now)
		if full > max(place.fullAt, now) || place.fullAt <= now {
			*place = slot{hash: key, fullAt: full}
		} else {
			d.Uncounted = true
		}
		return d
	}
	full, d := rate.decide(place.fullAt, now)
	place.fullAt = full
	return d
}

// findSlot returns the slot of a key, or the one that it may take: that whose bucket is full first.
func (r *row) findSlot(key uint64) *slot {
	first := &r[0]
	for i := range r {
		s := &r[i]
		if s.hash == key && s.fullAt != 0 {
			return s
		}
		if s.fullAt < first.fullAt {
			first = s
		}
	}
	return first
}

// CountKeys counts the keys whose bucket is not full. It looks at every row: it is for whoever watches, not for requests.
func (l *Limiter) CountKeys() int {
	n := 0
	now := int64(l.now().Sub(l.epoch))
	for i := range l.locks {
		l.locks[i].Lock()
		for row := i; row < len(l.rows); row += len(l.locks) {
			for _, s := range l.rows[row] {
				if s.fullAt > now {
					n++
				}
			}
		}
		l.locks[i].Unlock()
	}
	return n
}
