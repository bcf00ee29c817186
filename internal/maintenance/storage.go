package maintenance

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"time"

	"github.com/caddyserver/certmagic"
)

const (
	// storagePath is the key of the windows in Caddy's storage, for the next edge and for edges that share the storage.
	storagePath = "edge/maintenance.json"

	// storageTimeout bounds each use of the storage, which may be remote.
	storageTimeout = 10 * time.Second
)

// load returns the snapshot that a storage has; an empty one if it has none.
func load(ctx context.Context, storage certmagic.Storage) (*Snapshot, error) {
	ctx, cancel := context.WithTimeout(ctx, storageTimeout)
	defer cancel()
	text, err := storage.Load(ctx, storagePath)
	if errors.Is(err, fs.ErrNotExist) {
		return new(Snapshot), nil
	}
	if err != nil {
		return nil, fmt.Errorf("load %s: %w", storagePath, err)
	}
	snapshot := new(Snapshot)
	if err := json.Unmarshal(text, snapshot); err != nil {
		return nil, fmt.Errorf("load %s: %w; `edge maintenance off` writes it anew", storagePath, err)
	}
	return snapshot, nil
}

// update changes the snapshot in a storage, under the storage's lock because several edges may do so at a time, and returns the new
// snapshot. edit gets nil if the stored snapshot can't be read; it returns nil if it can't do without it.
func update(ctx context.Context, storage certmagic.Storage, edit func(*Snapshot) *Snapshot) (snapshot *Snapshot, err error) {
	ctx, cancel := context.WithTimeout(ctx, storageTimeout)
	defer cancel()
	if err := storage.Lock(ctx, storagePath); err != nil {
		return nil, fmt.Errorf("lock %s: %w", storagePath, err)
	}
	defer func() {
		// A lock that can't be released expires by itself: after a successful store, that is no error.
		if unlockErr := storage.Unlock(context.WithoutCancel(ctx), storagePath); unlockErr != nil && err != nil {
			err = errors.Join(err, fmt.Errorf("unlock %s: %w", storagePath, unlockErr))
		}
	}()
	stored, loadErr := load(ctx, storage)
	if snapshot = edit(stored); snapshot == nil {
		return nil, loadErr
	}
	text, err := json.Marshal(snapshot)
	if err != nil {
		return nil, err
	}
	if err := storage.Store(ctx, storagePath, text); err != nil {
		return nil, fmt.Errorf("store %s: %w", storagePath, err)
	}
	return snapshot, nil
}
