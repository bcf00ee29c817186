package edge

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"

	"github.com/caddyserver/certmagic"

	"github.com/theworklabs/edge/internal/maintenance"
)

// maintenancePath is where Caddy's storage has what is in maintenance, for the next edge and for others.
const maintenancePath = "edge/maintenance.json"

// loadMaintenance returns what a storage says; if it says nothing, that nothing is in maintenance.
func loadMaintenance(ctx context.Context, storage certmagic.Storage) (*maintenance.Snapshot, error) {
	ctx, cancel := context.WithTimeout(ctx, storageTimeout)
	defer cancel()
	text, err := storage.Load(ctx, maintenancePath)
	if errors.Is(err, fs.ErrNotExist) {
		return new(maintenance.Snapshot), nil
	}
	if err != nil {
		return nil, fmt.Errorf("load %s: %w", maintenancePath, err)
	}
	book := new(maintenance.Snapshot)
	if err := json.Unmarshal(text, book); err != nil {
		return nil, fmt.Errorf("load %s: %w; `edge maintenance off` writes it anew", maintenancePath, err)
	}
	return book, nil
}

// editMaintenance changes what a storage says, which several edges may do at a time, and returns the outcome. edit may get nil, if
// what is there can't be read, and returns nil if it needs to know.
func editMaintenance(ctx context.Context, storage certmagic.Storage, edit func(*maintenance.Snapshot) *maintenance.Snapshot) (book *maintenance.Snapshot, err error) {
	ctx, cancel := context.WithTimeout(ctx, storageTimeout)
	defer cancel()
	if err := storage.Lock(ctx, maintenancePath); err != nil {
		return nil, fmt.Errorf("lock %s: %w", maintenancePath, err)
	}
	defer func() {
		if unlockErr := storage.Unlock(context.WithoutCancel(ctx), maintenancePath); unlockErr != nil && err != nil {
			err = errors.Join(err, fmt.Errorf("unlock %s: %w", maintenancePath, unlockErr)) // else: it is kept, and locks grow old
		}
	}()
	was, loadErr := loadMaintenance(ctx, storage)
	if book = edit(was); book == nil {
		return nil, loadErr
	}
	text, err := json.Marshal(book)
	if err != nil {
		return nil, err
	}
	if err := storage.Store(ctx, maintenancePath, text); err != nil {
		return nil, fmt.Errorf("store %s: %w", maintenancePath, err)
	}
	return book, nil
}
