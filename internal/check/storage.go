package check

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"syscall"

	"github.com/caddyserver/certmagic"
)

// storageKey is written and deleted again to see whether that can be done.
const storageKey = "edge/check"

// Storage writes to where certificates are kept, and reads it back. An edge that can't write there asks the authority for its
// certificates anew at every start, until that has had enough.
func Storage(ctx context.Context, storage certmagic.Storage) Finding {
	const text = "edge check"
	err := storage.Store(ctx, storageKey, []byte(text))
	if err == nil {
		var back []byte
		if back, err = storage.Load(ctx, storageKey); err == nil && string(back) != text {
			err = fmt.Errorf("what was written as %q reads as %q", text, back)
		}
		err = errors.Join(err, storage.Delete(ctx, storageKey))
	}
	switch {
	case err == nil:
		return ok("storage", "certificates can be kept (%v)", storage)
	case errors.Is(err, fs.ErrPermission), errors.Is(err, syscall.EROFS):
		return unknown("storage", "its directory, the volume edge_data in the stack, must be the edge's user's: docker run --rm -u 0 -v infrastructure_edge_data:/data debian chown -R 1000:1000 /data", err, "certificates can't be kept")
	case errors.Is(err, syscall.ENOSPC), errors.Is(err, syscall.EDQUOT):
		return unknown("storage", "make room: df -h, docker system df", err, "certificates can't be kept")
	}
	return unknown("storage", "can the edge reach it, and does it accept the edge's user?", err, "certificates can't be kept")
}
