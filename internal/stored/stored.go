// Package stored keeps values in Caddy's storage: for the next edge, and for the edges that share the storage.
package stored

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
	timeout       = 10 * time.Second // bounds each use of the storage, which may be remote
	unlockTimeout = 5 * time.Second  // the same after timeout
)

// Value is a value in JSON under a key.
type Value[T any] struct {
	Key string
	// Repair says what to do if the stored text is no such value.
	Repair string
}

// Load returns the value that a storage has; a new one if it has none.
func (v Value[T]) Load(ctx context.Context, storage certmagic.Storage) (*T, error) {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	value := new(T)
	text, err := storage.Load(ctx, v.Key)
	if errors.Is(err, fs.ErrNotExist) {
		return value, nil
	}
	if err != nil {
		return nil, fmt.Errorf("load %s: %w", v.Key, err)
	}
	if err := json.Unmarshal(text, value); err != nil {
		return nil, brokenError{fmt.Errorf("load %s: %w; %s", v.Key, err, v.Repair)}
	}
	return value, nil
}

// brokenError says that the stored text is no value.
type brokenError struct{ error }

// Unwrap returns the cause.
func (e brokenError) Unwrap() error { return e.error }

// Update changes the value in a storage, under the storage's lock because several edges may do so at a time, and returns the new one. edit gets nil if
// the stored text is broken; it returns nil if it can't do without it.
func (v Value[T]) Update(ctx context.Context, storage certmagic.Storage, edit func(*T) *T) (value *T, err error) {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	if err := storage.Lock(ctx, v.Key); err != nil {
		return nil, fmt.Errorf("lock %s: %w", v.Key, err)
	}
	defer func() {
		// A lock that can't be released expires by itself: after a successful store, that is no error.
		unlockCtx, cancel := context.WithTimeout(context.WithoutCancel(ctx), unlockTimeout)
		defer cancel()
		if unlockErr := storage.Unlock(unlockCtx, v.Key); unlockErr != nil && err != nil {
			err = errors.Join(err, fmt.Errorf("unlock %s: %w", v.Key, unlockErr))
		}
	}()
	stored, loadErr := v.Load(ctx, storage)
	if isBroken := errors.As(loadErr, new(brokenError)); loadErr != nil && !isBroken {
		return nil, loadErr
	}
	if value = edit(stored); value == nil {
		return nil, loadErr
	}
	text, err := json.Marshal(value)
	if err != nil {
		return nil, err
	}
	if err := storage.Store(ctx, v.Key, text); err != nil {
		return nil, fmt.Errorf("store %s: %w", v.Key, err)
	}
	return value, nil
}
