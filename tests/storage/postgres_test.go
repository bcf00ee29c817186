package storage

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/caddyserver/certmagic"

	"github.com/theworklabs/edge/internal/storagetest"
)

func TestPostgresStorageConformance(t *testing.T) {
	storagetest.Run(t, func(t *testing.T) certmagic.Storage { return openStore(t, testOptions(database, keyOne)) })
}

// TestLockOfAKilledProcessExpiresWithItsLease, and not before, however long it is held.
func TestLockOfAKilledProcessExpiresWithItsLease(t *testing.T) {
	o := testOptions(database, keyOne)
	holder := exec.Command(os.Args[0])
	holder.Env = append(os.Environ(), "EDGE_TEST_HOLD_LOCK="+t.Name(), "EDGE_TEST_DATABASE="+database)
	out, err := holder.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := holder.Start(); err != nil {
		t.Fatal(err)
	}
	line, err := bufio.NewReader(out).ReadString('\n')
	if line != "held\n" {
		t.Fatalf("the holder says %q %v", line, err)
	}
	s := openStore(t, o)
	ctx, cancel := context.WithTimeout(t.Context(), 2*o.Lease)
	defer cancel()
	if err := s.Lock(ctx, t.Name()); !errors.Is(err, context.DeadlineExceeded) {
		t.Fatalf("after two leases, while it is held: %v", err)
	}
	if err := holder.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = holder.Wait() // by the kill
	began := time.Now()
	if err := s.Lock(t.Context(), t.Name()); err != nil {
		t.Fatal(err)
	}
	took := time.Since(began)
	if took > o.Lease+time.Second {
		t.Errorf("it took %s, and the lease is %s", took, o.Lease)
	}
	t.Logf("taken over %s after the kill, with a lease of %s", took.Round(10*time.Millisecond), o.Lease)
	if err := s.Unlock(t.Context(), t.Name()); err != nil {
		t.Error(err)
	}
}

// TestDisconnectedHolderLosesItsLock, learns of it, and works again when the network is back.
func TestDisconnectedHolderLosesItsLock(t *testing.T) {
	w := newDatabaseProxy(t)
	o := testOptions(w.address(), keyOne)
	o.RetryTimeout = 500 * time.Millisecond
	cutOff, other := openStore(t, o), openStore(t, testOptions(database, keyOne))
	if err := cutOff.Lock(t.Context(), t.Name()); err != nil {
		t.Fatal(err)
	}
	w.setDown(true)
	if err := cutOff.Store(t.Context(), "cut/off", []byte("x")); err == nil {
		t.Error("a store succeeds without a network")
	}
	if err := other.Lock(t.Context(), t.Name()); err != nil {
		t.Fatal(err)
	}
	w.setDown(false)
	if err := cutOff.Unlock(t.Context(), t.Name()); err == nil || !strings.Contains(err.Error(), "somebody else") {
		t.Errorf("the release of a lock that was lost: %v", err)
	}
	if err := cutOff.Store(t.Context(), "cut/off", []byte("x")); err != nil {
		t.Errorf("after the network is back: %v", err)
	}
	if err := other.Unlock(t.Context(), t.Name()); err != nil {
		t.Errorf("whoever took it over can't release it: %v", err)
	}
}

// TestRenewalReacquiresALostLock when it is free: that is what certmagic asks for before each of its attempts.
func TestRenewalReacquiresALostLock(t *testing.T) {
	w := newDatabaseProxy(t)
	o := testOptions(w.address(), keyOne)
	o.RetryTimeout = 500 * time.Millisecond
	cutOff, other := openStore(t, o), openStore(t, testOptions(database, keyOne))
	if err := cutOff.Lock(t.Context(), t.Name()); err != nil {
		t.Fatal(err)
	}
	if err := cutOff.RenewLockLease(t.Context(), t.Name(), time.Minute); err != nil {
		t.Fatalf("while it is held: %v", err)
	}
	w.setDown(true)
	if err := cutOff.RenewLockLease(t.Context(), t.Name(), time.Minute); err == nil {
		t.Error("it is renewed without a network")
	}
	if err := other.Lock(t.Context(), t.Name()); err != nil {
		t.Fatal(err)
	}
	w.setDown(false)
	ctx, cancel := context.WithTimeout(t.Context(), 700*time.Millisecond)
	defer cancel()
	if err := cutOff.RenewLockLease(ctx, t.Name(), time.Minute); err == nil {
		t.Fatal("two have it")
	}
	again := make(chan error, 1)
	go func() { again <- cutOff.RenewLockLease(t.Context(), t.Name(), time.Minute) }()
	if err := other.Unlock(t.Context(), t.Name()); err != nil {
		t.Fatal(err)
	}
	if err := <-again; err != nil {
		t.Fatalf("after it was released: %v", err)
	}
	time.Sleep(o.Lease * 3 / 2) // it is renewed again
	if taken, err := other.TryLock(t.Context(), t.Name()); taken || err != nil {
		t.Errorf("it can be taken (%v)", err)
	}
	if err := cutOff.Unlock(t.Context(), t.Name()); err != nil {
		t.Error(err)
	}
	if err := cutOff.RenewLockLease(t.Context(), t.Name(), time.Minute); err == nil {
		t.Error("what is not held is renewed")
	}
}

// TestLockWaitsWhileTheDatabaseIsDown, longer than there is patience for anything else.
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
		t.Error("a store succeeds without a network")
	}
	<-ctx.Done()
	select {
	case err := <-got:
		t.Fatalf("it has given up: %v", err)
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

// TestSilentDatabaseTimesOut: nothing refuses and nothing ends, and nobody waits longer than his patience.
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
		t.Errorf("giving back a lock took %s", took)
	}
}

// TestCloseReleasesLocks, and not only when their leases are over.
func TestCloseReleasesLocks(t *testing.T) {
	o := testOptions(database, keyOne)
	o.Lease = time.Minute
	one, two := openStore(t, o), openStore(t, o)
	if err := one.Lock(t.Context(), t.Name()); err != nil {
		t.Fatal(err)
	}
	one.Close()
	if taken, err := two.TryLock(t.Context(), t.Name()); !taken || err != nil {
		t.Errorf("it is still held (%v)", err)
	}
	if err := two.Unlock(t.Context(), t.Name()); err != nil {
		t.Error(err)
	}
	if err := one.Store(t.Context(), "ended/x", nil); err == nil {
		t.Error("a store that has ended stores")
	}
}

// TestLostLockIsTakenOnlyAfterItsRelease: in one process, a lock that was lost is taken by the next only when it was released.
func TestLostLockIsTakenOnlyAfterItsRelease(t *testing.T) {
	w := newDatabaseProxy(t)
	o := testOptions(w.address(), keyOne)
	o.RetryTimeout = 200 * time.Millisecond
	s := openStore(t, o)
	if err := s.Lock(t.Context(), t.Name()); err != nil {
		t.Fatal(err)
	}
	w.setDown(true)
	time.Sleep(o.Lease + 500*time.Millisecond) // its lease is over
	w.setDown(false)
	if taken, err := s.TryLock(t.Context(), t.Name()); taken || err != nil {
		t.Errorf("another one in this process has it as well (%v)", err)
	}
	_ = s.Unlock(t.Context(), t.Name()) // it may have been renewed in time or not
	if taken, err := s.TryLock(t.Context(), t.Name()); !taken || err != nil {
		t.Errorf("after its release: %t %v", taken, err)
	}
	if err := s.Unlock(t.Context(), t.Name()); err != nil {
		t.Error(err)
	}
}

// TestNothingFailsWhileTheDatabaseRestarts while values and locks are in use: nothing fails, nothing is lost.
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
		t.Errorf("what was there before: %q %v", got, err)
	}
	if err := s.Unlock(t.Context(), t.Name()); err != nil {
		t.Error(err)
	}
}
