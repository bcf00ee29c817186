// Package storagetest tests a certmagic.Storage against each sentence of its documentation.
package storagetest

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"io/fs"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/caddyserver/certmagic"
)

// Run tests a storage. Each call of open returns a new one with the same values and locks, as another process would have it. Each
// test uses names of its own.
func Run(t *testing.T, open func(t *testing.T) certmagic.Storage) {
	for name, test := range map[string]func(*testing.T, func(*testing.T) certmagic.Storage){
		"a stored value is loaded by every process": testStoreAndLoad,
		"a missing key does not exist":              testNotExist,
		"delete removes a key and all below it":     testDelete,
		"list returns keys and directories":         testList,
		"stat describes keys and directories":       testStat,
		"concurrent stores keep values whole":       testConcurrentStores,
		"a lock has one holder at a time":           testLockIsExclusive,
		"Lock waits until its context is done":      testLockWaits,
		"TryLock does not wait":                     testTryLock,
		"Unlock fails for a lock that is not held":  testUnlockOfUnheldLock,
	} {
		t.Run(name, func(t *testing.T) { test(t, open) })
	}
}

// uniqueKey makes a key that no other test uses.
func uniqueKey(t *testing.T) string {
	t.Helper()
	return "conformance/" + strings.ToLower(rand.Text())
}

func mustStore(t *testing.T, s certmagic.Storage, key, value string) {
	t.Helper()
	if err := s.Store(t.Context(), key, []byte(value)); err != nil {
		t.Fatal(err)
	}
}

func testStoreAndLoad(t *testing.T, open func(*testing.T) certmagic.Storage) {
	one, two := open(t), open(t)
	big := make([]byte, 5<<20)
	_, _ = rand.Read(big) // crypto/rand.Read never returns an error
	for _, value := range [][]byte{[]byte("first"), []byte("second, longer"), {}, {0, 255, '\n', '\''}, big, []byte("last")} {
		key := uniqueKey(t)
		for _, key := range []string{key + "/site.crt", key + "/wildcard_.example.com/ümlaut %_\\'\".key"} {
			if err := one.Store(t.Context(), key, value); err != nil {
				t.Fatal(err)
			}
			for _, s := range []certmagic.Storage{one, two} {
				got, err := s.Load(t.Context(), key)
				if err != nil || !bytes.Equal(got, value) {
					t.Errorf("%s: loaded %d bytes (%v), stored %d", key, len(got), err, len(value))
				}
			}
		}
	}
	key := uniqueKey(t)
	mustStore(t, one, key, "first")
	mustStore(t, two, key, "second")
	if got, err := one.Load(t.Context(), key); err != nil || string(got) != "second" {
		t.Errorf("Load after another process has stored: %q %v, want second", got, err)
	}
}

func testNotExist(t *testing.T, open func(*testing.T) certmagic.Storage) {
	s, key := open(t), uniqueKey(t)
	if _, err := s.Load(t.Context(), key); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("Load: %v", err)
	}
	if _, err := s.Stat(t.Context(), key); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("Stat: %v", err)
	}
	for _, recursive := range []bool{true, false} {
		if _, err := s.List(t.Context(), key, recursive); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("List, recursive %t: %v", recursive, err)
		}
	}
	if s.Exists(t.Context(), key) {
		t.Error("Exists: true, want false")
	}
	if err := s.Delete(t.Context(), key); err != nil {
		t.Errorf("Delete: %v", err)
	}
}

func testDelete(t *testing.T, open func(*testing.T) certmagic.Storage) {
	s, dir := open(t), uniqueKey(t)
	for _, key := range []string{"a/b", "a/c/d", "ab/e", "a_b", "f"} {
		mustStore(t, s, dir+"/"+key, key)
	}
	if err := s.Delete(t.Context(), dir+"/a"); err != nil {
		t.Fatal(err)
	}
	if err := s.Delete(t.Context(), dir+"/f"); err != nil {
		t.Fatal(err)
	}
	for key, want := range map[string]bool{"a": false, "a/b": false, "a/c/d": false, "f": false, "ab/e": true, "ab": true, "a_b": true, "": true} {
		if got := s.Exists(t.Context(), strings.TrimSuffix(dir+"/"+key, "/")); got != want {
			t.Errorf("Exists(%q): %t, want %t", key, got, want)
		}
	}
}

func testList(t *testing.T, open func(*testing.T) certmagic.Storage) {
	s, dir := open(t), uniqueKey(t)
	for _, key := range []string{"b/2", "b/1/x", "b/1/y", "a", "bc"} {
		mustStore(t, s, dir+"/"+key, key)
	}
	for _, c := range []struct {
		path      string
		recursive bool
		want      string
	}{
		{"", false, "a b bc"},
		{"", true, "a b b/1 b/1/x b/1/y b/2 bc"},
		{"/b", false, "b/1 b/2"},
		{"/b", true, "b/1 b/1/x b/1/y b/2"},
	} {
		got, err := s.List(t.Context(), dir+c.path, c.recursive)
		slices.Sort(got)
		for i := range got {
			got[i] = strings.TrimPrefix(got[i], dir+"/")
		}
		if err != nil || strings.Join(got, " ") != c.want {
			t.Errorf("List(%q), recursive %t: %v %v, want %s", c.path, c.recursive, got, err, c.want)
		}
	}
}

func testStat(t *testing.T, open func(*testing.T) certmagic.Storage) {
	s, dir := open(t), uniqueKey(t)
	mustStore(t, s, dir+"/file", "twelve bytes")
	info, err := s.Stat(t.Context(), dir+"/file")
	if err != nil || info.Key != dir+"/file" || info.Size != 12 || !info.IsTerminal || time.Since(info.Modified).Abs() > time.Minute {
		t.Errorf("Stat of a key: %+v %v", info, err)
	}
	if info, err := s.Stat(t.Context(), dir); err != nil || info.IsTerminal {
		t.Errorf("Stat of a directory: %+v %v", info, err)
	}
}

func testConcurrentStores(t *testing.T, open func(*testing.T) certmagic.Storage) {
	one, two, key := open(t), open(t), uniqueKey(t)
	var wg sync.WaitGroup
	for i, s := range []certmagic.Storage{one, two, one, two} {
		wg.Go(func() {
			value := bytes.Repeat([]byte{byte('a' + i)}, 100_000)
			for range 5 {
				if err := s.Store(t.Context(), key, value); err != nil {
					t.Error(err)
				}
				got, err := s.Load(t.Context(), key)
				if err != nil || len(got) != len(value) || len(bytes.Trim(got, string(got[:1]))) > 0 {
					t.Errorf("Load: %d bytes, error %v, want one of the stored values", len(got), err)
				}
			}
		})
	}
	wg.Wait()
}

func testLockIsExclusive(t *testing.T, open func(*testing.T) certmagic.Storage) {
	name := uniqueKey(t)
	var holders, acquired atomic.Int32
	var wg sync.WaitGroup
	for range 2 {
		s := open(t)
		for range 3 {
			wg.Go(func() {
				if err := s.Lock(t.Context(), name); err != nil {
					t.Error(err)
					return
				}
				if holders.Add(1) != 1 {
					t.Error("the lock has two holders")
				}
				acquired.Add(1)
				holders.Add(-1)
				if err := s.Unlock(t.Context(), name); err != nil {
					t.Error(err)
				}
			})
		}
	}
	wg.Wait()
	if n := acquired.Load(); n != 6 {
		t.Errorf("%d of 6 acquired the lock", n)
	}
}

func testLockWaits(t *testing.T, open func(*testing.T) certmagic.Storage) {
	one, two, name := open(t), open(t), uniqueKey(t)
	if err := one.Lock(t.Context(), name); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	if err := two.Lock(ctx, name); err == nil {
		t.Error("Lock returns although another process holds the lock")
	}
	if err := two.Lock(t.Context(), name+"-other"); err != nil {
		t.Errorf("Lock of another name: %v", err)
	} else if err := two.Unlock(t.Context(), name+"-other"); err != nil {
		t.Error(err)
	}
	got := make(chan error, 1)
	go func() { got <- two.Lock(t.Context(), name) }()
	if err := one.Unlock(t.Context(), name); err != nil {
		t.Fatal(err)
	}
	if err := <-got; err != nil {
		t.Fatalf("Lock after Unlock: %v", err)
	}
	if err := two.Unlock(t.Context(), name); err != nil {
		t.Error(err)
	}
}

func testTryLock(t *testing.T, open func(*testing.T) certmagic.Storage) {
	one, two := open(t).(certmagic.TryLocker), open(t).(certmagic.TryLocker)
	name := uniqueKey(t)
	for step, want := range []bool{true, false} {
		if got, err := []certmagic.TryLocker{one, two}[step].TryLock(t.Context(), name); err != nil || got != want {
			t.Fatalf("TryLock %d: %t %v, want %t", step+1, got, err, want)
		}
	}
	if err := one.Unlock(t.Context(), name); err != nil {
		t.Fatal(err)
	}
	if got, err := two.TryLock(t.Context(), name); err != nil || !got {
		t.Fatalf("TryLock after Unlock: %t %v, want true", got, err)
	}
	if err := two.Unlock(t.Context(), name); err != nil {
		t.Error(err)
	}
}

func testUnlockOfUnheldLock(t *testing.T, open func(*testing.T) certmagic.Storage) {
	if err := open(t).Unlock(t.Context(), uniqueKey(t)); err == nil {
		t.Error("Unlock of a lock that is not held returns no error")
	}
}
