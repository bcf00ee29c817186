package pgstorage

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"time"

	"github.com/caddyserver/certmagic"
	"github.com/jackc/pgx/v5"
)

// lock is a lock that this process holds: a row with the holder's ID and the time at which the lease expires, by the database's
// clock. renewLoop renews the lease three times before it would expire, so a holder that crashes or is disconnected loses the lock.
type lock struct {
	holder   string
	renewCtx context.Context
	cancel   context.CancelFunc
	done     chan struct{} // closed when renewLoop has returned
}

// newLock returns a lock with a holder ID of its own.
func newLock() *lock {
	l := &lock{holder: rand.Text(), done: make(chan struct{})}
	l.renewCtx, l.cancel = context.WithCancel(context.Background())
	return l
}

// stop ends the renewal, and waits until it has ended.
func (l *lock) stop() {
	l.cancel()
	<-l.done
}

// lockPollInterval is how often a process that waits for a lock tries to acquire it.
const lockPollInterval = 250 * time.Millisecond

// Lock acquires the lock of a name. It waits until ctx is done, also while the database can't be reached, because certmagic does
// not retry a failed Lock.
func (s *Store) Lock(ctx context.Context, name string) error {
	return s.waitForLock(ctx, name, func() (bool, error) { return s.TryLock(ctx, name) })
}

// waitForLock calls try until the lock is taken, ctx is done, or an error is not transient.
func (s *Store) waitForLock(ctx context.Context, name string, try func() (taken bool, err error)) error {
	for {
		taken, err := try()
		if taken || err != nil && (!isTransient(err) || ctx.Err() != nil || s.closed.Load()) {
			return err
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("wait for the lock %s: %w", name, ctx.Err())
		case <-time.After(lockPollInterval):
		}
	}
}

// TryLock acquires the lock of a name if no holder has it, or the holder's lease has expired. It does not acquire a lock that this
// process has not released yet, even if its lease has expired: the release would apply to the new lock.
func (s *Store) TryLock(ctx context.Context, name string) (taken bool, err error) {
	s.heldMu.Lock()
	held := s.heldLocks[name] != nil
	s.heldMu.Unlock()
	if held {
		return false, nil
	}
	l := newLock()
	if taken, err = s.acquire(ctx, name, l); taken {
		s.heldMu.Lock()
		s.heldLocks[name] = l
		s.heldMu.Unlock()
		go s.renewLoop(name, l)
	}
	return taken, err
}

// acquire writes the lock to the database if the name has no lock there, or an expired one.
func (s *Store) acquire(ctx context.Context, name string, l *lock) (taken bool, err error) {
	err = s.withRetry(ctx, "lock "+name, func(ctx context.Context) error {
		// An attempt whose answer was lost may have acquired the lock: the holder is the same then.
		err := s.pool.QueryRow(ctx, "INSERT INTO "+s.locksTable+` AS l (name, holder, expires)
			VALUES ($1, $2, clock_timestamp() + $3)
			ON CONFLICT (name) DO UPDATE SET holder = excluded.holder, expires = excluded.expires
			WHERE l.expires < clock_timestamp() OR l.holder = excluded.holder
			RETURNING true`, name, l.holder, s.opts.Lease).Scan(&taken)
		if errors.Is(err, pgx.ErrNoRows) {
			return nil
		}
		return err
	})
	return taken && err == nil, err
}

// renewLoop renews the lease until the lock is released or lost.
func (s *Store) renewLoop(name string, l *lock) {
	defer close(l.done)
	ticker := time.NewTicker(s.opts.Lease / 3)
	defer ticker.Stop()
	for {
		select {
		case <-l.renewCtx.Done():
			return
		case <-ticker.C:
		}
		ctx, cancel := context.WithTimeout(l.renewCtx, s.opts.Lease/3)
		err := s.extendLease(ctx, name, l.holder, s.opts.Lease)
		cancel()
		if errors.Is(err, errLockLost) {
			return // RenewLockLease or Unlock reports it
		}
	}
}

// errLockLost reports that the lease has expired and another holder has acquired the lock since.
var errLockLost = errors.New("the lock is lost: its lease expired, and another holder has acquired it")

// extendLease sets the lease to expire after a time from now. It returns errLockLost if the holder has the lock no longer.
func (s *Store) extendLease(ctx context.Context, name, holder string, lease time.Duration) error {
	tag, err := s.pool.Exec(ctx, "UPDATE "+s.locksTable+" SET expires = clock_timestamp() + $3 WHERE name = $1 AND holder = $2", name, holder, lease)
	if err == nil && tag.RowsAffected() == 0 {
		return errLockLost
	}
	return err
}

// RenewLockLease sets the lease of a lock that this process holds to expire after a time, at most Options.Lease. Locks are renewed
// without it too; certmagic calls it before each attempt to obtain a certificate, and does not call Lock again. So if the lock was
// lost, RenewLockLease waits until ctx is done to acquire it again. When it returns nil, the lock is held, but what it protects
// may have changed.
func (s *Store) RenewLockLease(ctx context.Context, name string, lease time.Duration) error {
	s.heldMu.Lock()
	l := s.heldLocks[name]
	s.heldMu.Unlock()
	if l == nil {
		return fmt.Errorf("renew the lock %s: this process does not hold it", name)
	}
	// A longer lease would keep other edges from the lock for longer after a crash.
	err := s.withRetry(ctx, "renew the lock "+name, func(ctx context.Context) error {
		return s.extendLease(ctx, name, l.holder, min(lease, s.opts.Lease))
	})
	if !errors.Is(err, errLockLost) {
		return err
	}
	acquired := newLock()
	if err := s.waitForLock(ctx, name, func() (bool, error) { return s.acquire(ctx, name, acquired) }); err != nil {
		return err
	}
	s.heldMu.Lock()
	if s.heldLocks[name] == l {
		s.heldLocks[name] = acquired
		l.cancel()
		go s.renewLoop(name, acquired)
		s.heldMu.Unlock()
		return nil
	}
	s.heldMu.Unlock()
	return errors.Join(fmt.Errorf("renew the lock %s: it was released in the meantime", name), s.release(ctx, name, acquired))
}

// Unlock releases a lock that Lock or TryLock has acquired. It returns an error if the database can't be reached, and the lock then
// ends with its lease; or if the lock was lost before.
func (s *Store) Unlock(ctx context.Context, name string) error {
	s.heldMu.Lock()
	l := s.heldLocks[name]
	delete(s.heldLocks, name)
	s.heldMu.Unlock()
	if l == nil {
		return fmt.Errorf("unlock %s: this process does not hold the lock", name)
	}
	l.stop()
	return s.release(ctx, name, l)
}

// release deletes the lock. It ignores that ctx is done: a caller whose context has ended still has to release its lock.
func (s *Store) release(ctx context.Context, name string, l *lock) error {
	isRetry := false
	return s.withRetry(context.WithoutCancel(ctx), "unlock "+name, func(ctx context.Context) error {
		tag, err := s.pool.Exec(ctx, "DELETE FROM "+s.locksTable+" WHERE name = $1 AND holder = $2", name, l.holder)
		if err == nil && tag.RowsAffected() == 0 && !isRetry { // an attempt whose answer was lost may have deleted it
			return errLockLost
		}
		isRetry = true
		return err
	})
}

// Interface guards
var (
	_ certmagic.Storage          = (*Store)(nil)
	_ certmagic.TryLocker        = (*Store)(nil)
	_ certmagic.LockLeaseRenewer = (*Store)(nil)
)
