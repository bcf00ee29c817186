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
	"github.com/jackc/pgx/v5"

	"github.com/theworklabs/edge/internal/storagetest"
)

func TestItIsAStorage(t *testing.T) {
	storagetest.Run(t, func(t *testing.T) certmagic.Storage { return open(t, options(database, keyOne)) })
}

// TestTheLockOfAProcessThatWasKilledEndsWithItsLease, and not before, however long it is held.
func TestTheLockOfAProcessThatWasKilledEndsWithItsLease(t *testing.T) {
	o := options(database, keyOne)
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
	s := open(t, o)
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

// TestWhoIsCutOffLosesTheLock, learns of it, and works again when the network is back.
func TestWhoIsCutOffLosesTheLock(t *testing.T) {
	w := newWire(t)
	o := options(w.address(), keyOne)
	o.Patience = 500 * time.Millisecond
	cutOff, other := open(t, o), open(t, options(database, keyOne))
	if err := cutOff.Lock(t.Context(), t.Name()); err != nil {
		t.Fatal(err)
	}
	w.set(true)
	if err := cutOff.Store(t.Context(), "cut/off", []byte("x")); err == nil {
		t.Error("a store succeeds without a network")
	}
	if err := other.Lock(t.Context(), t.Name()); err != nil {
		t.Fatal(err)
	}
	w.set(false)
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

// TestWhoHasLostTheLockGetsItAgain when it is free: that is what certmagic asks for before each of its attempts.
func TestWhoHasLostTheLockGetsItAgain(t *testing.T) {
	w := newWire(t)
	o := options(w.address(), keyOne)
	o.Patience = 500 * time.Millisecond
	cutOff, other := open(t, o), open(t, options(database, keyOne))
	if err := cutOff.Lock(t.Context(), t.Name()); err != nil {
		t.Fatal(err)
	}
	if err := cutOff.RenewLockLease(t.Context(), t.Name(), time.Minute); err != nil {
		t.Fatalf("while it is held: %v", err)
	}
	w.set(true)
	if err := cutOff.RenewLockLease(t.Context(), t.Name(), time.Minute); err == nil {
		t.Error("it is renewed without a network")
	}
	if err := other.Lock(t.Context(), t.Name()); err != nil {
		t.Fatal(err)
	}
	w.set(false)
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

// TestALockIsWaitedForWhileTheDatabaseIsAway, longer than there is patience for anything else.
func TestALockIsWaitedForWhileTheDatabaseIsAway(t *testing.T) {
	w := newWire(t)
	o := options(w.address(), keyOne)
	o.Patience = 200 * time.Millisecond
	waiter, holder := open(t, o), open(t, options(database, keyOne))
	if err := holder.Lock(t.Context(), t.Name()); err != nil {
		t.Fatal(err)
	}
	got := make(chan error, 1)
	go func() { got <- waiter.Lock(t.Context(), t.Name()) }()
	w.set(true)
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
	w.set(false)
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

// TestADatabaseThatFallsSilentIsGivenUp: nothing refuses and nothing ends, and nobody waits longer than his patience.
func TestADatabaseThatFallsSilentIsGivenUp(t *testing.T) {
	w := newWire(t)
	o := options(w.address(), keyOne)
	o.Patience = 3 * time.Second
	s := open(t, o)
	if err := s.Lock(t.Context(), t.Name()); err != nil {
		t.Fatal(err)
	}
	w.lose(true)
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
		if took := time.Since(began); err == nil || took > o.Patience+3*time.Second {
			t.Errorf("%s: %v after %s", what, err, took)
		}
	}
	s = open(t, o)
	w.lose(false)
	if err := s.Lock(t.Context(), t.Name()+" again"); err != nil {
		t.Fatal(err)
	}
	w.lose(true)
	began := time.Now()
	s.GiveBack()
	if took := time.Since(began); took > 4*time.Second {
		t.Errorf("giving back a lock took %s", took)
	}
}

// TestWhoEndsGivesBackItsLocks, and not only when their leases are over.
func TestWhoEndsGivesBackItsLocks(t *testing.T) {
	o := options(database, keyOne)
	o.Lease = time.Minute
	one, two := open(t, o), open(t, o)
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

// TestNobodyReleasesAnothersLock: in one process, a lock that was lost is taken by the next only when it was released.
func TestNobodyReleasesAnothersLock(t *testing.T) {
	w := newWire(t)
	o := options(w.address(), keyOne)
	o.Patience = 200 * time.Millisecond
	s := open(t, o)
	if err := s.Lock(t.Context(), t.Name()); err != nil {
		t.Fatal(err)
	}
	w.set(true)
	time.Sleep(o.Lease + 500*time.Millisecond) // its lease is over
	w.set(false)
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

// TestTheDatabaseIsRestarted while values and locks are in use: nothing fails, nothing is lost.
func TestTheDatabaseIsRestarted(t *testing.T) {
	o := options(database, keyOne)
	o.Lease, o.Patience = 20*time.Second, 30*time.Second
	s := open(t, o)
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

// TestAnotherKeyReadsNothingAndOverwritesNothing.
func TestAnotherKeyReadsNothingAndOverwritesNothing(t *testing.T) {
	o := options(database, keyOne)
	o.Table = "edge_storage_keys"
	first := open(t, o)
	if err := first.Store(t.Context(), "a/b", []byte("secret")); err != nil {
		t.Fatal(err)
	}
	o.Keys = []string{keyTwo}
	other := open(t, o)
	if _, err := other.Load(t.Context(), "a/b"); err == nil || !strings.Contains(err.Error(), "a key that is not among ours") {
		t.Errorf("load: %v", err)
	}
	if err := other.Store(t.Context(), "a/b", []byte("overwritten")); err == nil {
		t.Error("it overwrites what it can't read")
	}
	o.Keys = []string{keyTwo, keyOne}
	rotated := open(t, o)
	if got, err := rotated.Load(t.Context(), "a/b"); err != nil || string(got) != "secret" {
		t.Errorf("with the old key after the new one: %q %v", got, err)
	}
	if err := rotated.Store(t.Context(), "a/b", []byte("anew")); err != nil {
		t.Fatal(err)
	}
	o.Keys = []string{keyTwo}
	if got, err := open(t, o).Load(t.Context(), "a/b"); err != nil || string(got) != "anew" {
		t.Errorf("with the new key alone: %q %v", got, err)
	}
}

// TestAnOldKeyCanBeRetired when an edge has started with the new one: it has encrypted everything anew, also what is never
// written again.
func TestAnOldKeyCanBeRetired(t *testing.T) {
	o := options(database, keyOne)
	o.Table = "edge_storage_retired"
	first := open(t, o)
	for _, key := range []string{"acme/account", "acme/certificate", "pki/root"} {
		if err := first.Store(t.Context(), key, []byte("of "+key)); err != nil {
			t.Fatal(err)
		}
	}
	o.Keys = []string{keyTwo, keyOne}
	if !open(t, o).Exists(t.Context(), "acme/account") {
		t.Fatal("with both keys nothing is there")
	}
	o.Keys = []string{keyTwo}
	alone := open(t, o)
	for _, key := range []string{"acme/account", "acme/certificate", "pki/root"} {
		if got, err := alone.Load(t.Context(), key); err != nil || string(got) != "of "+key {
			t.Errorf("%s with the new key alone: %q %v", key, got, err)
		}
	}
}

// TestOneValueOfAnotherKeyIsEnoughToStop: not only the newest one counts.
func TestOneValueOfAnotherKeyIsEnoughToStop(t *testing.T) {
	o := options(database, keyOne)
	o.Table = "edge_storage_mixed"
	if err := open(t, o).Store(t.Context(), "old", []byte("x")); err != nil {
		t.Fatal(err)
	}
	conn, err := pgx.Connect(t.Context(), o.DSN)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(context.WithoutCancel(t.Context()))
	other := options(database, keyTwo)
	other.Table = "edge_storage_mixed_other"
	if err := open(t, other).Store(t.Context(), "new", []byte("y")); err != nil {
		t.Fatal(err)
	}
	if _, err := conn.Exec(t.Context(), "INSERT INTO edge_storage_mixed SELECT * FROM edge_storage_mixed_other"); err != nil {
		t.Fatal(err)
	}
	if _, err := open(t, o).Load(t.Context(), "old"); err == nil || !strings.Contains(err.Error(), "new: it is encrypted with a key that is not among ours") {
		t.Errorf("load: %v", err)
	}
}

// TestTablesThatAreThereNeedNoRightToMakeThem.
func TestTablesThatAreThereNeedNoRightToMakeThem(t *testing.T) {
	o := options(database, keyOne)
	o.Table = "edge_storage_restricted"
	if err := open(t, o).Store(t.Context(), "a", []byte("x")); err != nil {
		t.Fatal(err)
	}
	conn, err := pgx.Connect(t.Context(), o.DSN)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(context.WithoutCancel(t.Context()))
	for _, statement := range []string{
		"CREATE ROLE restricted LOGIN PASSWORD 'hunter2'",
		"REVOKE CREATE ON SCHEMA public FROM PUBLIC",
		"GRANT SELECT, INSERT, UPDATE, DELETE ON edge_storage_restricted, edge_storage_restricted_locks TO restricted",
	} {
		if _, err := conn.Exec(t.Context(), statement); err != nil {
			t.Fatal(err)
		}
	}
	o.DSN = strings.Replace(o.DSN, "edge:hunter2@", "restricted:hunter2@", 1)
	s := open(t, o)
	if got, err := s.Load(t.Context(), "a"); err != nil || string(got) != "x" {
		t.Errorf("%q %v", got, err)
	}
	if err := s.Lock(t.Context(), t.Name()); err != nil {
		t.Fatal(err)
	}
	if err := s.Unlock(t.Context(), t.Name()); err != nil {
		t.Error(err)
	}
	o.Table = "edge_storage_elsewhere"
	if err := open(t, o).Store(t.Context(), "a", nil); err == nil || !strings.Contains(err.Error(), "prepare the table edge_storage_elsewhere") {
		t.Errorf("tables that are missing: %v", err)
	}
}

// TestNothingIsReadableInTheDatabase, and what was changed or moved there is refused.
func TestNothingIsReadableInTheDatabase(t *testing.T) {
	o := options(database, keyOne)
	o.Table = "edge_storage_sealed"
	s := open(t, o)
	for _, key := range []string{"one", "two"} {
		if err := s.Store(t.Context(), key, []byte("-----BEGIN PRIVATE KEY----- of "+key)); err != nil {
			t.Fatal(err)
		}
	}
	conn, err := pgx.Connect(t.Context(), o.DSN)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(context.WithoutCancel(t.Context()))
	var readable int
	if err := conn.QueryRow(t.Context(), "SELECT count(*) FROM edge_storage_sealed WHERE position('PRIVATE'::bytea IN value) > 0").Scan(&readable); err != nil || readable > 0 {
		t.Errorf("%d values are readable (%v)", readable, err)
	}
	for _, change := range []string{
		"UPDATE edge_storage_sealed SET value = (SELECT value FROM edge_storage_sealed WHERE key = 'two') WHERE key = 'one'",
		"UPDATE edge_storage_sealed SET value = set_byte(value, 20, 255 - get_byte(value, 20)) WHERE key = 'two'",
		"UPDATE edge_storage_sealed SET value = ''",
		"UPDATE edge_storage_sealed SET value = 'plain text that nobody sealed'",
	} {
		if _, err := conn.Exec(t.Context(), change); err != nil {
			t.Fatal(err)
		}
		if got, err := s.Load(t.Context(), "one"); err == nil {
			t.Errorf("after %s: %q is taken", change, got)
		}
	}
}
