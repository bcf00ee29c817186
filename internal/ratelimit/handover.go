package ratelimit

import (
	"errors"
	"time"
)

// Counts are what a limiter knows of its keys, for another process.
type Counts struct {
	HashKey HashKey  `json:"hash_key"`
	Buckets []Bucket `json:"buckets,omitempty"`
}

// Bucket is one key whose bucket is not full.
type Bucket struct {
	Hash   uint64        `json:"hash"`
	FullIn time.Duration `json:"full_in"`
}

// Export returns the counts of the limiter.
func (l *Limiter) Export() Counts {
	c := Counts{HashKey: l.HashKey()}
	now := int64(l.now().Sub(l.epoch))
	l.eachRow(func(r *row) {
		for _, s := range r {
			if s.fullAt > now {
				c.Buckets = append(c.Buckets, Bucket{s.hash, time.Duration(s.fullAt - now)})
			}
		}
	})
	return c
}

// Import adds the counts of another limiter. If that has another secret, this one takes it over, and forgets what it has counted itself.
// For a key that both have counted, the fuller use counts.
func (l *Limiter) Import(c Counts) error {
	if c.HashKey == (HashKey{}) {
		return errors.New("the counts have no key")
	}
	if l.HashKey() != c.HashKey {
		l.key.Store(&c.HashKey)
		l.eachRow(func(r *row) { clear(r[:]) })
	}
	now := int64(l.now().Sub(l.epoch))
	for _, b := range c.Buckets {
		if b.FullIn <= 0 || b.FullIn > maxRefillTime {
			continue
		}
		l.withRow(b.Hash, func(r *row) {
			s, fullAt := r.findSlot(b.Hash), now+int64(b.FullIn)
			if s.hash == b.Hash && s.fullAt != 0 || s.fullAt < fullAt {
				*s = slot{hash: b.Hash, fullAt: max(fullAt, s.fullAt)}
			}
		})
	}
	return nil
}

// withRow calls f with the locked row of a hash.
func (l *Limiter) withRow(hash uint64, f func(*row)) {
	index := hash & l.mask
	lock := &l.locks[index%uint64(len(l.locks))]
	lock.Lock()
	defer lock.Unlock()
	f(&l.rows[index])
}

// eachRow calls f with each row, which is locked.
func (l *Limiter) eachRow(f func(*row)) {
	for i := range l.locks {
		l.locks[i].Lock()
		for row := i; row < len(l.rows); row += len(l.locks) {
			f(&l.rows[row])
		}
		l.locks[i].Unlock()
	}
}
