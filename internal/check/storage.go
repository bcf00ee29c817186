package check

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"syscall"
	"time"

	"github.com/caddyserver/certmagic"
	"github.com/jackc/pgx/v5/pgconn"
)

// storageDir is where something is written and deleted again to see whether that can be done. Each time under another name:
// several edges may start at once.
const storageDir = "edge/check"

// Storage writes to where certificates are kept, and reads it back. An edge that can't write there asks the authority for its
// certificates anew at every start, until that has had enough.
func Storage(ctx context.Context, storage certmagic.Storage) Finding {
	const text = "edge check"
	key := storageDir + "/" + strings.ToLower(rand.Text())
	err := storage.Store(ctx, key, []byte(text))
	if err == nil {
		var back []byte
		if back, err = storage.Load(ctx, key); err == nil && string(back) != text {
			err = fmt.Errorf("what was written as %q reads as %q", text, back)
		}
		goodbye, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
		defer cancel()
		err = errors.Join(err, storage.Delete(goodbye, key))
	}
	switch {
	case err == nil:
		return ok("storage", "certificates can be kept (%v)", storage)
	case errors.Is(err, fs.ErrPermission), errors.Is(err, syscall.EROFS):
		return unknown("storage", "its directory, the volume edge_data in the stack, must be the edge's user's: docker run --rm -u 0 -v infrastructure_edge_data:/data debian chown -R 1000:1000 /data", err, "certificates can't be kept")
	case Full(err):
		return unknown("storage", "make room: df -h, docker system df", err, "certificates can't be kept")
	}
	return unknown("storage", "can the edge reach it, and does it accept the edge's user?", err, "certificates can't be kept")
}

// Full reports whether an error says that there is no room: on a disk, within a quota, or for a PostgreSQL server.
func Full(err error) bool {
	if refusal, ok := errors.AsType[*pgconn.PgError](err); ok {
		return refusal.Code == "53100" // disk_full
	}
	return errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT)
}
