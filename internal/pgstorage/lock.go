package pgstorage

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/caddyserver/certmagic"
	"github.com/jackc/pgx/v5"
)

// lock is one that this process holds: a row with the holder's name and a time until which it holds, by the database's
// clock. It is renewed three times in its lease, so that a holder that dies, or is cut off, loses it.
type lock struct {
	holder   string
	renewCtx context.Context
	cancel   context.CancelFunc
	done     chan struct{} // closed when it is renewed no more
}

func newLock() *lock {
	l := &lock{holder: newHolderID(), done: make(chan struct{})}
	l.renewCtx, l.cancel = context.WithCancel(context.Background())
	return l
}

func (l *lock) stop() {
	l.cancel()
	<-l.done
}

// lockPollInterval is how often somebody who waits for a lock looks.
const lockPollInterval = 250 * time.Millisecond

// Lock acquires the lock of a name, and waits for it until ctx is done, also while the database is away: whoever asks
// for certificates does not ask for the lock again.
func (s *Store) Lock(ctx context.Context, name string) error {
	return s.waitForLock(ctx, name, func() (bool, error) { return s.TryLock(ctx, name) })
}

// waitForLock tries until it is taken, ctx is done, or there is an error that time won't mend.
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

// TryLock acquires the lock of a name if nobody has it, or whoever has it has not renewed its lease. As long as somebody in
// this process has not released it, it is not taken, be it lost: who releases it would release the other's.
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

// acquire makes a lock its holder's in the database, if it is nobody's.
func (s *Store) acquire(ctx context.Context, name string, l *lock) (taken bool, err error) {
	err = s.withRetry(ctx, "lock "+name, func(ctx context.Context) error {
		// The second time round, the first may have succeeded without our knowing.
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

// renewLoop keeps a lock until it is released, or has become somebody else's.
func (s *Store) renewLoop(name string, l *lock) {
	defer close(l.done)
	ticks := time.NewTicker(s.opts.Lease / 3)
	defer ticks.Stop()
	for {
		select {
		case <-l.renewCtx.Done():
			return
		case <-ticks.C:
		}
		try, cancel := context.WithTimeout(l.renewCtx, s.opts.Lease/3)
		lost := s.extendLease(try, name, l.holder, s.opts.Lease)
		cancel()
		if errors.Is(lost, errLockLost) {
			return // RenewLockLease or Unlock says so
		}
	}
}

// errLockLost is a lock that is somebody else's by now.
var errLockLost = errors.New("its lease was over, and somebody else has it or had it")

func (s *Store) extendLease(ctx context.Context, name, holder string, lease time.Duration) error {
	tag, err := s.pool.Exec(ctx, "UPDATE "+s.locksTable+" SET expires = clock_timestamp() + $3 WHERE name = $1 AND holder = $2", name, holder, lease)
	if err == nil && tag.RowsAffected() == 0 {
		return errLockLost
	}
	return err
}

// RenewLockLease makes a lock that is held last for a time. It is renewed by itself; this is for those who ask: before each
// attempt to obtain a certificate, for instance, and without ever locking again. So a lock that was lost is waited for until
// ctx is done, and is held again when this returns nil; what it protects may have changed meanwhile.
func (s *Store) RenewLockLease(ctx context.Context, name string, lease time.Duration) error {
	s.heldMu.Lock()
	l := s.heldLocks[name]
	s.heldMu.Unlock()
	if l == nil {
		return fmt.Errorf("renew the lock %s: it is not held", name)
	}
	// Longer than our own would keep it from others for as long after a crash.
	err := s.withRetry(ctx, "renew the lock "+name, func(ctx context.Context) error {
		return s.extendLease(ctx, name, l.holder, min(lease, s.opts.Lease))
	})
	if !errors.Is(err, errLockLost) {
		return err
	}
	again := newLock()
	if err := s.waitForLock(ctx, name, func() (bool, error) { return s.acquire(ctx, name, again) }); err != nil {
		return err
	}
	s.heldMu.Lock()
	if s.heldLocks[name] == l {
		s.heldLocks[name] = again
		l.cancel()
		go s.renewLoop(name, again)
		s.heldMu.Unlock()
		return nil
	}
	s.heldMu.Unlock()
	return errors.Join(fmt.Errorf("renew the lock %s: it was released meanwhile", name), s.release(ctx, name, again))
}

// Unlock releases a lock that Lock or TryLock has acquired. It fails if that was not possible: the lock then ends with its
// lease; or if it was lost before.
func (s *Store) Unlock(ctx context.Context, name string) error {
	s.heldMu.Lock()
	l := s.heldLocks[name]
	delete(s.heldLocks, name)
	s.heldMu.Unlock()
	if l == nil {
		return fmt.Errorf("unlock %s: it is not held", name)
	}
	l.stop()
	return s.release(ctx, name, l)
}

// release gives back a lock. It outlives ctx: whoever leaves because of that has to give it back all the same.
func (s *Store) release(ctx context.Context, name string, l *lock) error {
	again := false
	return s.withRetry(context.WithoutCancel(ctx), "unlock "+name, func(ctx context.Context) error {
		tag, err := s.pool.Exec(ctx, "DELETE FROM "+s.locksTable+" WHERE name = $1 AND holder = $2", name, l.holder)
		if err == nil && tag.RowsAffected() == 0 && !again {
			return errLockLost
		}
		again = true
		return err
	})
}

// Interface guards
var (
	_ certmagic.Storage          = (*Store)(nil)
	_ certmagic.TryLocker        = (*Store)(nil)
	_ certmagic.LockLeaseRenewer = (*Store)(nil)
)
