// Package affinity keeps the requests of one client on one endpoint.
package affinity

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"sync"
	"time"

	"github.com/caddyserver/certmagic"
	"go.uber.org/zap"
)

const (
	keyPath = "edge/affinity.key" // in Caddy's storage
	keySize = 32                  // bytes

	// MinSecretLength is the shortest secret that an operator may configure, in characters.
	MinSecretLength = 16

	// storageTimeout bounds the wait for the storage, which may be remote.
	storageTimeout = 10 * time.Second
)

// KeyStore holds the key that signs affinity cookies. It loads the key from Caddy's storage, which several edges may share, and
// creates it there if there is none. The zero value is ready to use, and safe for concurrent use.
type KeyStore struct {
	mu        sync.Mutex // held while the storage is read, so that all callers get the same key
	stored    []byte     // nil until the storage has returned it
	temporary []byte     // used while the storage fails
}

// Key returns the 32-byte key. The first call that succeeds reads the storage, and later calls return the same key. If the storage
// fails, Key logs the error and returns a temporary key, which lasts as long as the store; the next call asks the storage again.
func (s *KeyStore) Key(storage certmagic.Storage, log *zap.Logger) []byte {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.stored != nil {
		return s.stored
	}
	key, err := loadOrCreateKey(storage)
	if err == nil {
		s.stored = key
		return key
	}
	log.Error("the key of affinity cookies can't be kept: users may change containers when the edge restarts", zap.Error(err))
	if s.temporary == nil {
		s.temporary = newKey()
	}
	return s.temporary
}

// KeyFromSecret returns the key for a configured secret, so that several edges with the same secret accept each other's cookies.
func KeyFromSecret(secret string) []byte {
	sum := sha256.Sum256([]byte(secret))
	return sum[:]
}

// loadOrCreateKey returns the key in the storage, and creates it under the storage's lock if there is none.
func loadOrCreateKey(storage certmagic.Storage) (key []byte, err error) {
	ctx, cancel := context.WithTimeout(context.Background(), storageTimeout)
	defer cancel()
	if key, err = loadKey(ctx, storage); !errors.Is(err, fs.ErrNotExist) {
		return key, err
	}
	if err := storage.Lock(ctx, keyPath); err != nil {
		return nil, fmt.Errorf("lock %s: %w", keyPath, err)
	}
	defer func() { err = errors.Join(err, storage.Unlock(context.WithoutCancel(ctx), keyPath)) }()
	if key, err = loadKey(ctx, storage); !errors.Is(err, fs.ErrNotExist) {
		return key, err // another edge created it meanwhile
	}
	key = newKey()
	if err := storage.Store(ctx, keyPath, key); err != nil {
		return nil, fmt.Errorf("store %s: %w", keyPath, err)
	}
	return key, nil
}

func loadKey(ctx context.Context, storage certmagic.Storage) ([]byte, error) {
	key, err := storage.Load(ctx, keyPath)
	if err != nil {
		return nil, fmt.Errorf("load %s: %w", keyPath, err)
	}
	if len(key) != keySize {
		return nil, fmt.Errorf("load %s: it has %d bytes, want %d; delete it to have one made", keyPath, len(key), keySize)
	}
	return key, nil
}

func newKey() []byte {
	key := make([]byte, keySize)
	_, _ = rand.Read(key) // it never returns an error
	return key
}
