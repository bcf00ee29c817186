package edge

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"time"

	"github.com/caddyserver/certmagic"
	"go.uber.org/zap"

	"github.com/theworklabs/edge/internal/engineio"
)

const (
	// affinityKeyPath is where the key of affinity cookies is in Caddy's storage.
	affinityKeyPath = "edge/affinity.key"
	affinityKeySize = 32 // bytes

	minSecretLength = 16 // characters

	// storageTimeout bounds the wait for the storage, which may be elsewhere.
	storageTimeout = 10 * time.Second
)

func (a *App) checkSecret() error {
	if a.AffinitySecret != "" && len(a.AffinitySecret) < minSecretLength {
		return fmt.Errorf("affinity_secret has %d characters, want at least %d; leave it out to have one made", len(a.AffinitySecret), minSecretLength)
	}
	return nil
}

// Sessions returns the socket.io sessions that the edge has seen begin, and those that it has only seen go on, of which
// there are fewer: strangers can make them up. Both outlive configurations.
func (a *App) Sessions() (begun, strays *engineio.Table) {
	return a.runtime.sessions, a.runtime.adoptedSessions
}

// adoptedSessionLimit is how many sessions are remembered of which the beginning was not seen.
const adoptedSessionLimit = 10_000

// WaitForSync waits, after the start of the edge, until the sources have spoken, for three seconds at the most.
func (a *App) WaitForSync(ctx context.Context) { a.runtime.registry.WaitForSync(ctx) }

// PreloadAffinityKey has the key loaded when the app starts. To be called while provisioning.
func (a *App) PreloadAffinityKey() { a.affinityKeyRequested.Store(true) }

// AffinityKey returns the key that affinity cookies are signed with: made of affinity_secret, or else kept in Caddy's
// storage, where it is made if there is none. If the storage fails, that is said in the log, and the key lasts as long as
// the process.
func (a *App) AffinityKey() []byte {
	a.affinityKeyOnce.Do(func() {
		if a.AffinitySecret != "" {
			sum := sha256.Sum256([]byte(a.AffinitySecret))
			a.affinityKey = sum[:]
			return
		}
		a.affinityKey = a.runtime.affinityKey(a.storage, a.log)
	})
	return a.affinityKey
}

// affinityKey returns the key that is kept in the storage, which is asked for it once in the life of the process; or, if
// that fails, one that is not kept.
func (l *runtime) affinityKey(storage certmagic.Storage, log *zap.Logger) []byte {
	l.affinityKeyMu.Lock()
	defer l.affinityKeyMu.Unlock()
	if l.storedAffinityKey != nil {
		return l.storedAffinityKey
	}
	key, err := loadOrCreateAffinityKey(storage)
	if err == nil {
		l.storedAffinityKey = key
		return key
	}
	log.Error("the key of affinity cookies can't be kept: users may change containers when the edge restarts", zap.Error(err))
	if l.temporaryAffinityKey == nil {
		l.temporaryAffinityKey = newAffinityKey()
	}
	return l.temporaryAffinityKey
}

// loadOrCreateAffinityKey returns the key in a storage that several edges may share, and makes it if there is none.
func loadOrCreateAffinityKey(storage certmagic.Storage) (key []byte, err error) {
	ctx, cancel := context.WithTimeout(context.Background(), storageTimeout)
	defer cancel()
	if key, err = loadAffinityKey(ctx, storage); !errors.Is(err, fs.ErrNotExist) {
		return key, err
	}
	if err := storage.Lock(ctx, affinityKeyPath); err != nil {
		return nil, fmt.Errorf("lock %s: %w", affinityKeyPath, err)
	}
	defer func() { err = errors.Join(err, storage.Unlock(context.WithoutCancel(ctx), affinityKeyPath)) }()
	if key, err = loadAffinityKey(ctx, storage); !errors.Is(err, fs.ErrNotExist) {
		return key, err // another edge was faster
	}
	key = newAffinityKey()
	if err := storage.Store(ctx, affinityKeyPath, key); err != nil {
		return nil, fmt.Errorf("store %s: %w", affinityKeyPath, err)
	}
	return key, nil
}

func loadAffinityKey(ctx context.Context, storage certmagic.Storage) ([]byte, error) {
	key, err := storage.Load(ctx, affinityKeyPath)
	if err != nil {
		return nil, fmt.Errorf("load %s: %w", affinityKeyPath, err)
	}
	if len(key) != affinityKeySize {
		return nil, fmt.Errorf("load %s: it has %d bytes, want %d; delete it to have one made", affinityKeyPath, len(key), affinityKeySize)
	}
	return key, nil
}

func newAffinityKey() []byte {
	key := make([]byte, affinityKeySize)
	_, _ = rand.Read(key) // it never fails
	return key
}
