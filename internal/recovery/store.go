package recovery

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"sync"
	"time"

	"github.com/caddyserver/certmagic"
)

const (
	// storagePath is the key of the status in Caddy's storage, for the next edge and for edges that share the storage.
	storagePath = "edge/backups.json"

	// storageTimeout bounds each use of the storage, which may be remote.
	storageTimeout = 10 * time.Second

	// cacheTime is how long a status that was read is used: metrics are read often, and other edges may have got reports.
	cacheTime = 10 * time.Second
)

// Store has the status in a storage. The zero Store is ready to use, and safe for concurrent use.
type Store struct {
	mu     sync.Mutex
	status *Status
	readAt time.Time
}

// Status returns the status that the storage has. If the storage cannot be read, it returns the last one that was read, and the error.
func (s *Store) Status(ctx context.Context, storage certmagic.Storage) (*Status, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.status != nil && time.Since(s.readAt) < cacheTime {
		return s.status, nil
	}
	status, err := load(ctx, storage)
	if err != nil {
		return s.status, err
	}
	s.status, s.readAt = status, time.Now()
	return status, nil
}

// Add adds a report to the status in the storage.
func (s *Store) Add(ctx context.Context, storage certmagic.Storage, r *Report) (status *Status, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	ctx, cancel := context.WithTimeout(ctx, storageTimeout)
	defer cancel()
	if err := storage.Lock(ctx, storagePath); err != nil { // other edges may get reports at the same time
		return nil, fmt.Errorf("lock %s: %w", storagePath, err)
	}
	defer func() {
		// A lock that cannot be released expires by itself: after a successful store, that is no error.
		if unlockErr := storage.Unlock(context.WithoutCancel(ctx), storagePath); unlockErr != nil && err != nil {
			err = errors.Join(err, unlockErr)
		}
	}()
	current, err := load(ctx, storage)
	if _, isCorrupt := errors.AsType[*json.SyntaxError](err); err != nil && !isCorrupt {
		return nil, err
	}
	status = current.With(r) // a status that cannot be parsed is written anew
	text, err := json.Marshal(status)
	if err != nil {
		return nil, err
	}
	if err := storage.Store(ctx, storagePath, text); err != nil {
		return nil, fmt.Errorf("store %s: %w", storagePath, err)
	}
	s.status, s.readAt = status, time.Now()
	return status, nil
}

func load(ctx context.Context, storage certmagic.Storage) (*Status, error) {
	ctx, cancel := context.WithTimeout(ctx, storageTimeout)
	defer cancel()
	text, err := storage.Load(ctx, storagePath)
	if errors.Is(err, fs.ErrNotExist) {
		return &Status{Projects: map[string]Project{}}, nil
	}
	if err != nil {
		return nil, fmt.Errorf("load %s: %w", storagePath, err)
	}
	status := new(Status)
	if err := json.Unmarshal(text, status); err != nil {
		return nil, fmt.Errorf("load %s: %w", storagePath, err)
	}
	return status, nil
}
