package ratelimit

import (
	"crypto/rand"
	"encoding/binary"
	"math/bits"
	"sync"
	"sync/atomic"
	"time"

	"github.com/dchest/siphash"
)

// Limiter has the token buckets of many keys, 16 bytes each, in a table of fixed size. It is safe for concurrent use.
//
// The hash of a key selects a row of eight slots. In a full row, a new key replaces the key whose bucket is full soonest, if that is
// sooner than its own would be; otherwise the limiter allows the request without counting it. So a flood of new keys with one
// request each replaces only keys of the flood: a key that has used more than one token keeps its slot. With the number of keys
// that the limiter is made for, one key in a thousand is in a full row.
type Limiter struct {
	key   atomic.Pointer[HashKey]
	epoch time.Time
	now   func() time.Time
	mask  uint64
	rows  []row
	locks [256]struct {
		sync.Mutex
		_ [56]byte // a cache line each
	}
}

// row holds the keys whose hashes have the same low bits. It is two cache lines long.
type row [8]slot

// slot is one key: its hash, and the time at which its bucket is full, in nanoseconds since the epoch. fullAt is 0 in an empty slot.
type slot struct {
	hash   uint64
	fullAt int64
}

// New returns a limiter for a number of keys at a time. It has four to eight times as many slots (a power of two), so that few rows
// are full. Rows that were never written take no physical memory.
func New(keys int) *Limiter {
	return newLimiter(keys, time.Now)
}

func newLimiter(keys int, now func() time.Time) *Limiter {
	n := 1 << bits.Len(uint(max(4*keys/len(row{})-1, 0)))
	// The epoch is a second ago, so that no time of a key is 0.
	l := &Limiter{epoch: now().Add(-time.Second), now: now, mask: uint64(n - 1), rows: make([]row, n)}
	l.key.Store(newHashKey())
	return l
}

// HashKey is the secret with which keys are hashed, by SipHash: clients can't choose keys that collide.
type HashKey [2]uint64

func newHashKey() *HashKey {
	var random [16]byte
	_, _ = rand.Read(random[:]) // never fails
	return &HashKey{binary.LittleEndian.Uint64(random[:8]), binary.LittleEndian.Uint64(random[8:])}
}

// Hash returns the hash of a key.
func (k HashKey) Hash(key []byte) uint64 { return siphash.Hash(k[0], k[1], key) }

// HashKey returns the secret with which callers hash keys. It is random, or that of the limiter whose counts were imported.
func (l *Limiter) HashKey() HashKey { return *l.key.Load() }

// Take decides whether a request of a key is allowed, and takes a token if it is. key is the key's hash with [Limiter.HashKey]. The rate of
// a key may change from call to call.
func (l *Limiter) Take(key uint64, rate Rate) Decision {
	index := key & l.mask
	lock := &l.locks[index%uint64(len(l.locks))]
	lock.Lock()
	defer lock.Unlock()
	now := int64(l.now().Sub(l.epoch))
	s := l.rows[index].findSlot(key)
	if s.hash != key {
		fullAt, d := rate.decide(0, now)
		if fullAt > max(s.fullAt, now) || s.fullAt <= now {
			*s = slot{hash: key, fullAt: fullAt}
		} else {
			d.Uncounted = true
		}
		return d
	}
	fullAt, d := rate.decide(s.fullAt, now)
	s.fullAt = fullAt
	return d
}

// findSlot returns the slot of a key, or if it has none, the slot whose bucket is full soonest.
func (r *row) findSlot(key uint64) *slot {
	soonest := &r[0]
	for i := range r {
		s := &r[i]
		if s.hash == key && s.fullAt != 0 {
			return s
		}
		if s.fullAt < soonest.fullAt {
			soonest = s
		}
	}
	return soonest
}

// CountKeys returns the number of keys whose bucket is not full. It reads every row: it is for metrics, not for the request path.
func (l *Limiter) CountKeys() int {
	count := 0
	now := int64(l.now().Sub(l.epoch))
	l.eachRow(func(r *row) {
		for _, s := range r {
			if s.fullAt > now {
				count++
			}
		}
	})
	return count
}
