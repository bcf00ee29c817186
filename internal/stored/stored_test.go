package stored

import (
	"context"
	"errors"
	"io/fs"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/caddyserver/certmagic"
)

// fakeStorage has one value. A call that is named in hangs ends only with its context.
type fakeStorage struct {
	certmagic.Storage // nil: a Value calls only the methods below

	value []byte
	hangs string
}

func (s *fakeStorage) call(ctx context.Context, name string) error {
	if s.hangs != name {
		return nil
	}
	<-ctx.Done()
	return ctx.Err()
}

func (s *fakeStorage) Lock(ctx context.Context, _ string) error   { return s.call(ctx, "lock") }
func (s *fakeStorage) Unlock(ctx context.Context, _ string) error { return s.call(ctx, "unlock") }

func (s *fakeStorage) Load(ctx context.Context, _ string) ([]byte, error) {
	if s.value == nil {
		return nil, fs.ErrNotExist
	}
	return s.value, s.call(ctx, "load")
}

func (s *fakeStorage) Store(ctx context.Context, _ string, value []byte) error {
	err := s.call(ctx, "store")
	if err == nil {
		s.value = value
	}
	return err
}

type counter struct{ N int }

var value = Value[counter]{Key: "counter.json", Repair: "count again"}

// increment edits a stored counter. It can do without one.
func increment(c *counter) *counter {
	if c == nil {
		c = new(counter)
	}
	c.N++
	return c
}

func TestUpdate(t *testing.T) {
	storage := new(fakeStorage)
	for want := 1; want <= 2; want++ {
		if c, err := value.Update(t.Context(), storage, increment); err != nil || c.N != want {
			t.Errorf("got %+v, %v, want %d", c, err, want)
		}
	}
	if c, err := value.Load(t.Context(), storage); err != nil || c.N != 2 {
		t.Errorf("got %+v, %v", c, err)
	}
	storage.value = []byte("[")
	if _, err := value.Load(t.Context(), storage); err == nil || !strings.Contains(err.Error(), "counter.json: unexpected end of JSON input; count again") {
		t.Error(err)
	}
	if _, err := value.Update(t.Context(), storage, func(*counter) *counter { return nil }); err == nil || string(storage.value) != "[" {
		t.Errorf("%v, and the storage has %s", err, storage.value)
	}
	if c, err := value.Update(t.Context(), storage, increment); err != nil || c.N != 1 {
		t.Errorf("got %+v, %v", c, err)
	}
}

// TestAStorageThatCannotBeRead is not written: nobody knows what it has.
func TestAStorageThatCannotBeRead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		storage := &fakeStorage{value: []byte(`{"N": 7}`), hangs: "load"}
		if _, err := value.Update(t.Context(), storage, increment); err == nil || string(storage.value) != `{"N": 7}` {
			t.Errorf("%v, and the storage has %s", err, storage.value)
		}
	})
}

// TestAStorageThatHangs is waited for no longer than 15 seconds, and an update that is stored is no error.
func TestAStorageThatHangs(t *testing.T) {
	for _, method := range []string{"lock", "load", "store", "unlock"} {
		synctest.Test(t, func(t *testing.T) {
			storage := &fakeStorage{value: []byte("{}"), hangs: method}
			start := time.Now()
			_, err := value.Update(t.Context(), storage, func(c *counter) *counter { return c })
			if isStored := method == "unlock"; isStored != (err == nil) || err != nil && !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("%s: %v", method, err)
			}
			if took := time.Since(start); took > timeout+unlockTimeout {
				t.Errorf("%s: took %s", method, took)
			}
		})
	}
}
