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
	// keyPath is where the key of affinity cookies is in Caddy's storage.
	keyPath = "edge/affinity.key"
	keySize = 32 // bytes

	shortestSecret = 16 // characters

	// storageTime bounds the wait for the storage, which may be elsewhere.
	storageTime = 10 * time.Second
)

func (a *App) checkSecret() error {
	if a.AffinitySecret != "" && len(a.AffinitySecret) < shortestSecret {
		return fmt.Errorf("affinity_secret has %d characters, want at least %d; leave it out to have one made", len(a.AffinitySecret), shortestSecret)
	}
	return nil
}

// Sessions returns the socket.io sessions that the edge has seen begin, and those that it has only seen go on, of which
// there are fewer: strangers can make them up. Both outlive configurations.
func (a *App) Sessions() (begun, strays *engineio.Table) { return a.living.sessions, a.living.strays }

// strayLimit is how many sessions are remembered of which the beginning was not seen.
const strayLimit = 10_000

// Settled waits, after the start of the edge, until the sources have spoken, for three seconds at the most.
func (a *App) Settled(ctx context.Context) { a.living.registry.WaitForSync(ctx) }

// WantAffinityKey has the key loaded when the app starts. To be called while provisioning.
func (a *App) WantAffinityKey() { a.wantsKey.Store(true) }

// AffinityKey returns the key that affinity cookies are signed with: made of affinity_secret, or else kept in Caddy's
// storage, where it is made if there is none. If the storage fails, that is said in the log, and the key lasts as long as
// the process.
func (a *App) AffinityKey() []byte {
	a.keyOnce.Do(func() {
		if a.AffinitySecret != "" {
			sum := sha256.Sum256([]byte(a.AffinitySecret))
			a.key = sum[:]
			return
		}
		a.key = a.living.affinityKey(a.storage, a.log)
	})
	return a.key
}

// affinityKey returns the key that is kept in the storage, which is asked for it once in the life of the process; or, if
// that fails, one that is not kept.
func (l *living) affinityKey(storage certmagic.Storage, log *zap.Logger) []byte {
	l.keyMu.Lock()
	defer l.keyMu.Unlock()
	if l.keptKey != nil {
		return l.keptKey
	}
	key, err := storedKey(storage)
	if err == nil {
		l.keptKey = key
		return key
	}
	log.Error("the key of affinity cookies can't be kept: users may change containers when the edge restarts", zap.Error(err))
	if l.passingKey == nil {
		l.passingKey = newKey()
	}
	return l.passingKey
}

// storedKey returns the key in a storage that several edges may share, and makes it if there is none.
func storedKey(storage certmagic.Storage) (key []byte, err error) {
	ctx, cancel := context.WithTimeout(context.Background(), storageTime)
	defer cancel()
	if key, err = loadKey(ctx, storage); !errors.Is(err, fs.ErrNotExist) {
		return key, err
	}
	if err := storage.Lock(ctx, keyPath); err != nil {
		return nil, fmt.Errorf("lock %s: %w", keyPath, err)
	}
	defer func() { err = errors.Join(err, storage.Unlock(context.WithoutCancel(ctx), keyPath)) }()
	if key, err = loadKey(ctx, storage); !errors.Is(err, fs.ErrNotExist) {
		return key, err // another edge was faster
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
	_, _ = rand.Read(key) // it never fails
	return key
}
