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

// bookPath is where Caddy's storage has what is in maintenance, for the next edge and for others.
const bookPath = "edge/maintenance.json"

// loadBook returns what a storage says; if it says nothing, that nothing is in maintenance.
func loadBook(ctx context.Context, storage certmagic.Storage) (*maintenance.Snapshot, error) {
	ctx, cancel := context.WithTimeout(ctx, storageTime)
	defer cancel()
	text, err := storage.Load(ctx, bookPath)
	if errors.Is(err, fs.ErrNotExist) {
		return new(maintenance.Snapshot), nil
	}
	if err != nil {
		return nil, fmt.Errorf("load %s: %w", bookPath, err)
	}
	book := new(maintenance.Snapshot)
	if err := json.Unmarshal(text, book); err != nil {
		return nil, fmt.Errorf("load %s: %w; `edge maintenance off` writes it anew", bookPath, err)
	}
	return book, nil
}

// editBook changes what a storage says, which several edges may do at a time, and returns the outcome. edit may get nil, if
// what is there can't be read, and returns nil if it needs to know.
func editBook(ctx context.Context, storage certmagic.Storage, edit func(*maintenance.Snapshot) *maintenance.Snapshot) (book *maintenance.Snapshot, err error) {
	ctx, cancel := context.WithTimeout(ctx, storageTime)
	defer cancel()
	if err := storage.Lock(ctx, bookPath); err != nil {
		return nil, fmt.Errorf("lock %s: %w", bookPath, err)
	}
	defer func() {
		if unlockErr := storage.Unlock(context.WithoutCancel(ctx), bookPath); unlockErr != nil && err != nil {
			err = errors.Join(err, fmt.Errorf("unlock %s: %w", bookPath, unlockErr)) // else: it is kept, and locks grow old
		}
	}()
	was, loadErr := loadBook(ctx, storage)
	if book = edit(was); book == nil {
		return nil, loadErr
	}
	text, err := json.Marshal(book)
	if err != nil {
		return nil, err
	}
	if err := storage.Store(ctx, bookPath, text); err != nil {
		return nil, fmt.Errorf("store %s: %w", bookPath, err)
	}
	return book, nil
}
