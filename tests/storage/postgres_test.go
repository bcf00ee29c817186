package storage

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"strings"
	"sync"
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

// wire is a way to the database that can be cut.
type wire struct {
	ln net.Listener

	mu    sync.Mutex
	cut   bool
	conns map[net.Conn]bool
}

func newWire(t *testing.T) *wire {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	w := &wire{ln: ln, conns: make(map[net.Conn]bool)}
	t.Cleanup(func() {
		_ = ln.Close() // it was only listened on
		w.set(true)
	})
	go func() {
		for {
			conn, err := ln.Accept()
			if err != nil {
				return
			}
			go w.carry(conn)
		}
	}()
	return w
}

func (w *wire) carry(conn net.Conn) {
	defer conn.Close()
	back, err := net.Dial("tcp", database)
	if err != nil {
		return
	}
	defer back.Close()
	w.mu.Lock()
	cut := w.cut
	w.conns[conn] = true
	w.mu.Unlock()
	if cut {
		return
	}
	go func() {
		_, _ = io.Copy(back, conn) // ends with either
		_ = back.Close()
	}()
	_, _ = io.Copy(conn, back)
}

// set cuts the wire, and all that is on it, or mends it.
func (w *wire) set(cut bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.cut = cut
	for conn := range w.conns {
		_ = conn.Close()
		delete(w.conns, conn)
	}
}

// TestWhoIsCutOffLosesTheLock, learns of it, and works again when the network is back.
func TestWhoIsCutOffLosesTheLock(t *testing.T) {
	w := newWire(t)
	o := options(w.ln.Addr().String(), keyOne)
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
