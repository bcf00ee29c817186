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

	// cacheTime is how long a status that was read is used: metrics are read often, and other edges may have got reports. After a failure, it is how long [Store.Recent] does
	// not try again.
	cacheTime = 10 * time.Second

	// recentWait is how long [Store.Recent] waits: longer than a storage takes that works.
	recentWait = 200 * time.Millisecond
)

// Store has the status in a storage. The zero Store is ready to use, and safe for concurrent use.
type Store struct {
	using sync.Mutex // the storage

	mu      sync.Mutex // guards what follows; nobody holds it while the storage is used
	status  *Status
	readAt  time.Time
	reading chan struct{} // closed when the reading in the background has ended; nil if there is none
	triedAt time.Time     // when the last one began
}

// Status returns the status that the storage has. If the storage cannot be read, it returns the last one that was read, and the error.
func (s *Store) Status(ctx context.Context, storage certmagic.Storage) (*Status, error) {
	s.using.Lock()
	defer s.using.Unlock()
	if status, isRecent := s.known(); isRecent {
		return status, nil
	}
	status, err := load(ctx, storage)
	if err != nil {
		known, _ := s.known()
		return known, err
	}
	s.set(status)
	return status, nil
}

// Recent returns the last status that was read, or nil, for those who must not wait for a storage that does not answer: metrics, and the status page. It has it read again in the
// background, if it is old. storage may be nil.
func (s *Store) Recent(storage certmagic.Storage) *Status {
	status, isRecent := s.known()
	if isRecent || storage == nil {
		return status
	}
	s.mu.Lock()
	reading := s.reading
	if reading == nil && time.Since(s.triedAt) >= cacheTime {
		reading = make(chan struct{})
		s.reading, s.triedAt = reading, time.Now()
		go func() {
			_, _ = s.Status(context.Background(), storage) // it shows in other metrics that the storage cannot be read
			s.mu.Lock()
			defer s.mu.Unlock()
			s.reading = nil
			close(reading)
		}()
	}
	s.mu.Unlock()
	if reading != nil {
		select {
		case <-reading:
		case <-time.After(recentWait):
		}
	}
	status, _ = s.known()
	return status
}

// known returns the last status that was read, and whether that was a moment ago.
func (s *Store) known() (status *Status, isRecent bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.status, s.status != nil && time.Since(s.readAt) < cacheTime
}

func (s *Store) set(status *Status) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.status, s.readAt = status, time.Now()
}

// Add adds a report to the status in the storage.
func (s *Store) Add(ctx context.Context, storage certmagic.Storage, r *Report) (status *Status, err error) {
	s.using.Lock()
	defer s.using.Unlock()
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
	s.set(status)
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
