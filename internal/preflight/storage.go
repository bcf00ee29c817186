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

// storageTestDir is the directory of CheckStorage. Each check uses a key of its own, because several edges can start at the same time.
const storageTestDir = "edge/check"

// CheckStorage writes a value to the storage of certificates, reads it and deletes it. An edge that cannot store certificates requests
// them again at each start, until it reaches the authority's rate limit. A finding that is an error is inconclusive.
func CheckStorage(ctx context.Context, storage certmagic.Storage) Finding {
	const text = "edge check"
	key := storageTestDir + "/" + strings.ToLower(rand.Text())
	err := storage.Store(ctx, key, []byte(text))
	if err == nil {
		var back []byte
		if back, err = storage.Load(ctx, key); err == nil && string(back) != text {
			err = fmt.Errorf("wrote %q and read %q", text, back)
		}
		deleteCtx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
		defer cancel()
		err = errors.Join(err, storage.Delete(deleteCtx, key))
	}
	switch {
	case err == nil:
		return okFinding("storage", "certificates can be kept (%v)", storage)
	case errors.Is(err, fs.ErrPermission), errors.Is(err, syscall.EROFS):
		return inconclusiveFinding("storage", "the edge's user must own its directory, the volume edge_data in the stack: docker run --rm -u 0 -v infrastructure_edge_data:/data debian chown -R 1000:1000 /data", err, "certificates can't be kept")
	case IsStorageFull(err):
		return inconclusiveFinding("storage", "free disk space: df -h, docker system df", err, "certificates can't be kept")
	}
	return inconclusiveFinding("storage", "check that the edge reaches the storage, and that the storage accepts the edge's user", err, "certificates can't be kept")
}

// IsStorageFull reports whether an error means that a disk, a quota or the disk of a PostgreSQL server is full.
func IsStorageFull(err error) bool {
	if pgErr, ok := errors.AsType[*pgconn.PgError](err); ok {
		return pgErr.Code == "53100" // disk_full
	}
	return errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT)
}
