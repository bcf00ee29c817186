package preflight

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

// storageTestDir is where something is written and deleted again to see whether that can be done. Each time under another name:
// several edges may start at once.
const storageTestDir = "edge/check"

// CheckStorage writes to where certificates are kept, and reads it back. An edge that can't write there asks the authority for its
// certificates anew at every start, until that has had enough.
func CheckStorage(ctx context.Context, storage certmagic.Storage) Finding {
	const text = "edge check"
	key := storageTestDir + "/" + strings.ToLower(rand.Text())
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
		return okFinding("storage", "certificates can be kept (%v)", storage)
	case errors.Is(err, fs.ErrPermission), errors.Is(err, syscall.EROFS):
		return inconclusiveFinding("storage", "its directory, the volume edge_data in the stack, must be the edge's user's: docker run --rm -u 0 -v infrastructure_edge_data:/data debian chown -R 1000:1000 /data", err, "certificates can't be kept")
	case IsStorageFull(err):
		return inconclusiveFinding("storage", "make room: df -h, docker system df", err, "certificates can't be kept")
	}
	return inconclusiveFinding("storage", "can the edge reach it, and does it accept the edge's user?", err, "certificates can't be kept")
}

// IsStorageFull reports whether an error says that there is no room: on a disk, within a quota, or for a PostgreSQL server.
func IsStorageFull(err error) bool {
	if refusal, ok := errors.AsType[*pgconn.PgError](err); ok {
		return refusal.Code == "53100" // disk_full
	}
	return errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT)
}
