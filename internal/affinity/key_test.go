package affinity_test

import (
	"bytes"
	"context"
	"errors"
	"io/fs"
	"strings"
	"sync"
	"testing"

	"github.com/caddyserver/certmagic"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"github.com/theworklabs/edge/internal/affinity"
)

// keyStorage is a storage of one value, which can fail.
type keyStorage struct {
	certmagic.Storage // nil: KeyStore calls only the methods below

	mu      sync.Mutex
	value   []byte
	loads   int
	failure map[string]error // by method
	onLock  func()
}

func (s *keyStorage) Load(context.Context, string) ([]byte, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.loads++
	if err := s.failure["load"]; err != nil {
		return nil, err
	}
	if s.value == nil {
		return nil, fs.ErrNotExist
	}
	return s.value, nil
}

func (s *keyStorage) Store(_ context.Context, _ string, value []byte) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.failure["store"]; err != nil {
		return err
	}
	s.value = value
	return nil
}

func (s *keyStorage) Lock(context.Context, string) error {
	if s.onLock != nil {
		s.onLock()
	}
	return s.failure["lock"]
}

func (s *keyStorage) Unlock(context.Context, string) error { return s.failure["unlock"] }

func TestKeyIsCreatedOnceAndStored(t *testing.T) {
	storage := new(keyStorage)
	first := new(affinity.KeyStore)
	key := first.Key(storage, zap.NewNop())
	if len(key) != 32 || !bytes.Equal(key, storage.value) {
		t.Fatalf("the key is %x, the storage has %x", key, storage.value)
	}
	loads := storage.loads
	if again := first.Key(storage, zap.NewNop()); !bytes.Equal(again, key) || storage.loads != loads {
		t.Errorf("the second call returned %x after %d loads, want %x without a load", again, storage.loads-loads, key)
	}
	if other := new(affinity.KeyStore).Key(storage, zap.NewNop()); !bytes.Equal(other, key) {
		t.Errorf("an edge with the same storage has the key %x, want %x", other, key)
	}
}

func TestKeyOfAnEdgeThatWasFasterIsUsed(t *testing.T) {
	want := bytes.Repeat([]byte{7}, 32)
	storage := new(keyStorage)
	storage.onLock = func() { storage.value = want }
	if got := new(affinity.KeyStore).Key(storage, zap.NewNop()); !bytes.Equal(got, want) {
		t.Errorf("got %x, want the key that was stored while the edge waited for the lock", got)
	}
}

func TestTemporaryKeyIsUsedWhileStorageFails(t *testing.T) {
	for _, method := range []string{"load", "lock", "store"} {
		t.Run(method, func(t *testing.T) {
			core, logs := observer.New(zap.InfoLevel)
			storage := &keyStorage{failure: map[string]error{method: errors.New("disk full")}}
			store := new(affinity.KeyStore)
			temporary := store.Key(storage, zap.New(core))
			if again := store.Key(storage, zap.New(core)); len(temporary) != 32 || !bytes.Equal(again, temporary) {
				t.Errorf("got %x, then %x, want the same temporary key", temporary, again)
			}
			if all := logs.FilterLevelExact(zap.ErrorLevel).All(); len(all) != 2 || !strings.Contains(all[0].ContextMap()["error"].(string), method+" edge/affinity.key: disk full") {
				t.Errorf("the log has %v", logs.All())
			}
			storage.failure = nil
			if key := store.Key(storage, zap.New(core)); bytes.Equal(key, temporary) || !bytes.Equal(key, storage.value) {
				t.Errorf("after the failure the key is %x, the storage has %x", key, storage.value)
			}
		})
	}
}

func TestStoredKeyOfWrongSizeIsNotUsed(t *testing.T) {
	core, logs := observer.New(zap.InfoLevel)
	storage := &keyStorage{value: []byte("short")}
	if key := new(affinity.KeyStore).Key(storage, zap.New(core)); len(key) != 32 || string(storage.value) != "short" {
		t.Errorf("got %x, the storage has %q", key, storage.value)
	}
	if logs.Len() != 1 || !strings.Contains(logs.All()[0].ContextMap()["error"].(string), "it has 5 bytes, want 32; delete it") {
		t.Errorf("the log has %v", logs.All())
	}
}

func TestKeyFromSecretDependsOnSecretAlone(t *testing.T) {
	a, again, b := affinity.KeyFromSecret("a sentence that nobody guesses"), affinity.KeyFromSecret("a sentence that nobody guesses"), affinity.KeyFromSecret("another one")
	if len(a) != 32 || !bytes.Equal(a, again) || bytes.Equal(a, b) {
		t.Errorf("got %x, %x and %x", a, again, b)
	}
}
