package storage

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/caddyserver/certmagic"

	"github.com/theworklabs/edge/internal/storagetest"
	"github.com/theworklabs/edge/tests/harness"
)

func TestPostgresStorageConformance(t *testing.T) {
	storagetest.Run(t, func(t *testing.T) certmagic.Storage { return openStore(t, testOptions(database, keyOne)) })
}

// TestLockOfAKilledProcessExpiresWithItsLease also checks that a lock does not expire while its holder lives, however long it holds
// it.
func TestLockOfAKilledProcessExpiresWithItsLease(t *testing.T) {
	o := testOptions(database, keyOne)
	holder := exec.Command(os.Args[0])
	holder.Env = append(os.Environ(), "EDGE_TEST_HOLD_LOCK="+t.Name(), "EDGE_TEST_DATABASE="+database)
	process := harness.StartProcess(t, holder)
	process.WaitForLog(t, time.Minute, "held\n")
	s := openStore(t, o)
	ctx, cancel := context.WithTimeout(t.Context(), 2*o.Lease)
	defer cancel()
	if err := s.Lock(ctx, t.Name()); !errors.Is(err, context.DeadlineExceeded) {
		t.Fatalf("Lock after two leases, while another process holds the lock: %v, want a timeout", err)
	}
	if err := process.Stop(syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	if err := s.Lock(t.Context(), t.Name()); err != nil {
		t.Fatal(err)
	}
	took := time.Since(began)
	if took > o.Lease+time.Second {
		t.Errorf("the lock is free %s after the kill; the lease is %s", took, o.Lease)
	}
	t.Logf("taken over %s after the kill, with a lease of %s", took.Round(10*time.Millisecond), o.Lease)
	if err := s.Unlock(t.Context(), t.Name()); err != nil {
		t.Error(err)
	}
}

// TestDisconnectedHolderLosesItsLock also checks that the holder gets an error, and works again when the network is back.
func TestDisconnectedHolderLosesItsLock(t *testing.T) {
	w := newDatabaseProxy(t)
	o := testOptions(w.address(), keyOne)
	o.RetryTimeout = 500 * time.Millisecond
	disconnected, other := openStore(t, o), openStore(t, testOptions(database, keyOne))
	if err := disconnected.Lock(t.Context(), t.Name()); err != nil {
		t.Fatal(err)
	}
	w.setDown(true)
	if err := disconnected.Store(t.Context(), "cut/off", []byte("x")); err == nil {
		t.Error("Store succeeds without a network")
	}
	if err := other.Lock(t.Context(), t.Name()); err != nil {
		t.Fatal(err)
	}
	w.setDown(false)
	if err := disconnected.Unlock(t.Context(), t.Name()); err == nil || !strings.Contains(err.Error(), "another holder has acquired it") {
		t.Errorf("the disconnected store releases a lock that it has lost: %v", err)
	}
	if err := disconnected.Store(t.Context(), "cut/off", []byte("x")); err != nil {
		t.Errorf("after the network is back: %v", err)
	}
	if err := other.Unlock(t.Context(), t.Name()); err != nil {
		t.Errorf("the other store cannot release the lock: %v", err)
	}
}

// TestRenewalReacquiresALostLock checks it for a lock that is free again. certmagic renews its lock before each of its attempts.
func TestRenewalReacquiresALostLock(t *testing.T) {
	w := newDatabaseProxy(t)
	o := testOptions(w.address(), keyOne)
	o.RetryTimeout = 500 * time.Millisecond
	disconnected, other := openStore(t, o), openStore(t, testOptions(database, keyOne))
	if err := disconnected.Lock(t.Context(), t.Name()); err != nil {
		t.Fatal(err)
	}
	if err := disconnected.RenewLockLease(t.Context(), t.Name(), time.Minute); err != nil {
		t.Fatalf("renewal of a lock that the store holds: %v", err)
	}
	w.setDown(true)
	if err := disconnected.RenewLockLease(t.Context(), t.Name(), time.Minute); err == nil {
		t.Error("the renewal succeeds without a network")
	}
	if err := other.Lock(t.Context(), t.Name()); err != nil {
		t.Fatal(err)
	}
	w.setDown(false)
	ctx, cancel := context.WithTimeout(t.Context(), 700*time.Millisecond)
	defer cancel()
	if err := disconnected.RenewLockLease(ctx, t.Name(), time.Minute); err == nil {
		t.Fatal("two stores hold the lock")
	}
	renewed := make(chan error, 1)
	go func() { renewed <- disconnected.RenewLockLease(t.Context(), t.Name(), time.Minute) }()
	if err := other.Unlock(t.Context(), t.Name()); err != nil {
		t.Fatal(err)
	}
	if err := <-renewed; err != nil {
		t.Fatalf("renewal after the other store has released the lock: %v", err)
	}
	time.Sleep(o.Lease * 3 / 2) // the store renews its lease by itself again
	if isLocked, err := other.TryLock(t.Context(), t.Name()); isLocked || err != nil {
		t.Errorf("the lock is free after a lease and a half (%v)", err)
	}
	if err := disconnected.Unlock(t.Context(), t.Name()); err != nil {
		t.Error(err)
	}
	if err := disconnected.RenewLockLease(t.Context(), t.Name(), time.Minute); err == nil {
		t.Error("the store renews a lock that it does not hold")
	}
}

// TestLockWaitsWhileTheDatabaseIsDown checks that Lock waits for longer than the retry timeout, after which other methods fail.
func TestLockWaitsWhileTheDatabaseIsDown(t *testing.T) {
	w := newDatabaseProxy(t)
	o := testOptions(w.address(), keyOne)
	o.RetryTimeout = 200 * time.Millisecond
	waiter, holder := openStore(t, o), openStore(t, testOptions(database, keyOne))
	if err := holder.Lock(t.Context(), t.Name()); err != nil {
		t.Fatal(err)
	}
	got := make(chan error, 1)
	go func() { got <- waiter.Lock(t.Context(), t.Name()) }()
	w.setDown(true)
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
	defer cancel()
	if err := waiter.Store(ctx, "away/x", nil); err == nil {
		t.Error("Store succeeds without a network")
	}
	<-ctx.Done()
	select {
	case err := <-got:
		t.Fatalf("Lock has given up: %v", err)
	default:
	}
	w.setDown(false)
	if err := holder.Unlock(t.Context(), t.Name()); err != nil {
		t.Fatal(err)
	}
	if err := <-got; err != nil {
		t.Fatal(err)
	}
	if err := waiter.Unlock(t.Context(), t.Name()); err != nil {
		t.Error(err)
	}
}

// TestSilentDatabaseTimesOut: connections stay open and nothing arrives, and each method returns after the retry timeout.
func TestSilentDatabaseTimesOut(t *testing.T) {
	w := newDatabaseProxy(t)
	o := testOptions(w.address(), keyOne)
	o.RetryTimeout = 3 * time.Second
	s := openStore(t, o)
	if err := s.Lock(t.Context(), t.Name()); err != nil {
		t.Fatal(err)
	}
	w.setBlackhole(true)
	for what, operation := range map[string]func() error{
		"store": func() error { return s.Store(t.Context(), "silent/x", []byte("x")) },
		"load": func() error {
			_, err := s.Load(t.Context(), "silent/x")
			return err
		},
		"unlock": func() error { return s.Unlock(t.Context(), t.Name()) },
	} {
		began := time.Now()
		err := operation()
		if took := time.Since(began); err == nil || took > o.RetryTimeout+3*time.Second {
			t.Errorf("%s: %v after %s", what, err, took)
		}
	}
	s = openStore(t, o)
	w.setBlackhole(false)
	if err := s.Lock(t.Context(), t.Name()+" again"); err != nil {
		t.Fatal(err)
	}
	w.setBlackhole(true)
	began := time.Now()
	s.ReleaseLocks()
	if took := time.Since(began); took > 4*time.Second {
		t.Errorf("ReleaseLocks takes %s", took)
	}
}

// TestCloseReleasesLocks checks that the locks are free before their leases are over.
func TestCloseReleasesLocks(t *testing.T) {
	o := testOptions(database, keyOne)
	o.Lease = time.Minute
	one, two := openStore(t, o), openStore(t, o)
	if err := one.Lock(t.Context(), t.Name()); err != nil {
		t.Fatal(err)
	}
	one.Close()
	if isLocked, err := two.TryLock(t.Context(), t.Name()); !isLocked || err != nil {
		t.Errorf("the lock is not free (%v)", err)
	}
	if err := two.Unlock(t.Context(), t.Name()); err != nil {
		t.Error(err)
	}
	if err := one.Store(t.Context(), "ended/x", nil); err == nil {
		t.Error("Store succeeds after Close")
	}
}

// TestLostLockIsTakenOnlyAfterItsRelease: within one process, the next Lock succeeds only after Unlock, even if the lease was lost.
func TestLostLockIsTakenOnlyAfterItsRelease(t *testing.T) {
	w := newDatabaseProxy(t)
	o := testOptions(w.address(), keyOne)
	o.RetryTimeout = 200 * time.Millisecond
	s := openStore(t, o)
	if err := s.Lock(t.Context(), t.Name()); err != nil {
		t.Fatal(err)
	}
	w.setDown(true)
	time.Sleep(o.Lease + 500*time.Millisecond) // until the lease is over
	w.setDown(false)
	if isLocked, err := s.TryLock(t.Context(), t.Name()); isLocked || err != nil {
		t.Errorf("two callers in this process hold the lock (%v)", err)
	}
	_ = s.Unlock(t.Context(), t.Name()) // an error if the lease was not renewed in time
	if isLocked, err := s.TryLock(t.Context(), t.Name()); !isLocked || err != nil {
		t.Errorf("after Unlock: %t %v", isLocked, err)
	}
	if err := s.Unlock(t.Context(), t.Name()); err != nil {
		t.Error(err)
	}
}

// TestNothingFailsWhileTheDatabaseRestarts uses values and a lock during the restart.
func TestNothingFailsWhileTheDatabaseRestarts(t *testing.T) {
	o := testOptions(database, keyOne)
	o.Lease, o.RetryTimeout = 20*time.Second, 30*time.Second
	s := openStore(t, o)
	if err := s.Lock(t.Context(), t.Name()); err != nil {
		t.Fatal(err)
	}
	if err := s.Store(t.Context(), "restart/before", []byte("before")); err != nil {
		t.Fatal(err)
	}
	restarted := make(chan error, 1)
	go func() { restarted <- exec.Command("docker", "restart", "--time", "5", container).Run() }()
	for done, n := false, 0; !done; n++ {
		select {
		case err := <-restarted:
			if err != nil {
				t.Fatal(err)
			}
			done = true
		default:
		}
		if err := s.Store(t.Context(), "restart/during", fmt.Append(nil, n)); err != nil {
			t.Fatalf("store %d: %v", n, err)
		}
		if got, err := s.Load(t.Context(), "restart/during"); err != nil || string(got) != fmt.Sprint(n) {
			t.Fatalf("load %d: %q %v", n, got, err)
		}
	}
	if got, err := s.Load(t.Context(), "restart/before"); err != nil || string(got) != "before" {
		t.Errorf("the value from before the restart: %q %v", got, err)
	}
	if err := s.Unlock(t.Context(), t.Name()); err != nil {
		t.Error(err)
	}
}
