package preflight

import (
	"context"
	"errors"
	"io/fs"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/caddyserver/certmagic"
	"github.com/jackc/pgx/v5/pgconn"
)

// faultyStorage is a storage whose Store fails, or whose Load returns another value.
type faultyStorage struct {
	*certmagic.FileStorage
	storeErr   error  // what Store returns, if it is not nil
	loadedText string // what Load returns, if it is not empty
}

func (f faultyStorage) Store(ctx context.Context, key string, value []byte) error {
	if f.storeErr != nil {
		return f.storeErr
	}
	return f.FileStorage.Store(ctx, key, value)
}

func (f faultyStorage) Load(ctx context.Context, key string) ([]byte, error) {
	if f.loadedText != "" {
		return []byte(f.loadedText), nil
	}
	return f.FileStorage.Load(ctx, key)
}

func TestStorageCheckReportsFailures(t *testing.T) {
	files := &certmagic.FileStorage{Path: t.TempDir()}
	if got := CheckStorage(t.Context(), files); got.Level != OK || got.Err() != nil {
		t.Errorf("%+v", got)
	}
	if left, err := files.List(t.Context(), storageTestDir, true); err == nil && len(left) > 0 {
		t.Errorf("%v remains in the storage", left)
	}
	var all sync.WaitGroup
	for range 8 { // as edges that start at the same time
		all.Go(func() {
			if got := CheckStorage(t.Context(), files); got.Level != OK {
				t.Errorf("in parallel: got %+v", got)
			}
		})
	}
	all.Wait()
	for _, c := range []struct {
		storage    certmagic.Storage
		want, hint string
	}{
		{faultyStorage{files, &fs.PathError{Op: "open", Path: "/data/x", Err: syscall.EACCES}, ""}, "open /data/x: permission denied", "chown"},
		{faultyStorage{files, syscall.EROFS, ""}, "read-only file system", "chown"},
		{faultyStorage{files, syscall.ENOSPC, ""}, "no space left", "docker system df"},
		{faultyStorage{files, errors.New("password authentication failed"), ""}, "password authentication failed", "accepts the edge's user"},
		{faultyStorage{files, nil, "other"}, `read "other"`, "check that the edge reaches the storage"},
	} {
		got := CheckStorage(t.Context(), c.storage)
		if got.Level != Error || !strings.Contains(got.Message, c.want) || !strings.Contains(got.Hint, c.hint) {
			t.Errorf("got %+v, want %s; hint: %s", got, c.want, c.hint)
		}
		if err := got.Err(); !strings.Contains(err.Error(), "hint: ") {
			t.Errorf("%v has no hint", err)
		}
	}
	for _, full := range []error{syscall.ENOSPC, &pgconn.PgError{Code: "53100"}} {
		if got := CheckStorage(t.Context(), faultyStorage{files, full, ""}); !IsStorageFull(got.Err()) {
			t.Errorf("IsStorageFull(%v) is false", got.Err())
		}
	}
}
