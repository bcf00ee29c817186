package backup

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"

	"github.com/theworklabs/edge/internal/lowpriority"
)

// stream is what a part is checked by while it is written.
type stream struct {
	size int64
	hash hash.Hash
	head []byte // the first bytes, up to edgeSize
	tail []byte // the last bytes, up to 2*edgeSize
}

// edgeSize is how much of a stream's beginning and end is kept: more than any header or trailer that is looked for.
const edgeSize = 2 << 10

func newStream() *stream { return &stream{hash: sha256.New()} }

// Write implements io.Writer.
func (s *stream) Write(b []byte) (int, error) {
	s.size += int64(len(b))
	s.hash.Write(b)
	if missing := edgeSize - len(s.head); missing > 0 {
		s.head = append(s.head, b[:min(missing, len(b))]...)
	}
	if s.tail = append(s.tail, b[max(0, len(b)-edgeSize):]...); len(s.tail) > 2*edgeSize {
		s.tail = append(s.tail[:0], s.tail[len(s.tail)-edgeSize:]...)
	}
	return len(b), nil
}

// isWhole returns an error unless a stream has the beginning and the end that its format demands. A program that died may have exited with
// status 0 as seen from here.
func (s *stream) isWhole(format string) error {
	end := s.tail[max(0, len(s.tail)-edgeSize):]
	switch format {
	case FormatSQL:
		// MariaDB says completed, PostgreSQL complete.
		if !bytes.Contains(end, []byte("-- Dump completed")) && !bytes.Contains(end, []byte("database cluster dump complete")) {
			return errors.New("its last line does not say that it is complete")
		}
	case FormatMbstream:
		if !bytes.HasPrefix(s.head, []byte("XBSTCK01")) {
			return errors.New("it does not begin like a stream of mariadb-backup")
		}
	case FormatPgDump:
		if !bytes.HasPrefix(s.head, []byte("PGDMP")) {
			return errors.New("it does not begin like a dump of pg_dump")
		}
	case FormatBaseTar, FormatTar, FormatWALTar, FormatBinlog:
		if len(end) < 1024 || len(bytes.Trim(end[len(end)-1024:], "\x00")) > 0 {
			return errors.New("it has no end of archive")
		}
	case FormatRDB:
		// The end of the last database, and a checksum of 8 bytes.
		if !bytes.HasPrefix(s.head, []byte("REDIS")) || len(end) < 9 || end[len(end)-9] != 0xff {
			return errors.New("it does not begin or end like a snapshot of Redis")
		}
	case FormatMongoDump:
		if !bytes.HasPrefix(s.head, []byte{0x1f, 0x8b}) {
			return errors.New("it is not compressed by gzip")
		}
	default:
		return fmt.Errorf("unknown format %s", format)
	}
	return nil
}

// save stores a part of the set, and adds it to the manifest. write writes it, and returns nil only if all of it is written.
func (b *appBackup) save(ctx context.Context, part Part, write func(context.Context, io.Writer) error) error {
	b.progress.startStep("%s: %s", b.app.Name, part.Name)
	s := newStream()
	saved, err := b.repository.Save(ctx, part.Name, b.tags(part.Name), func(ctx context.Context, w io.Writer) error {
		limiter := b.limiter
		if part.Format == FormatRDB { // Redis keeps all that is written meanwhile in memory
			limiter = nil
		}
		if err := write(ctx, limitRate(ctx, limiter, io.MultiWriter(w, s, b.progress))); err != nil {
			return err
		}
		if err := s.isWhole(part.Format); err != nil {
			return fmt.Errorf("%s is not whole: %w", part.Name, err)
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("back up %s: %w", part.Name, err)
	}
	part.Snapshot, part.Added = saved.SnapshotID, saved.Added
	part.Size, part.SHA256 = s.size, hex.EncodeToString(s.hash.Sum(nil))
	b.manifest.Parts = append(b.manifest.Parts, part)
	b.progress.finishStep("%s: %s, %s", b.app.Name, part.Name, FormatBytes(part.Size))
	return nil
}

// saveScript stores what a script writes in a container. It runs behind everything else; a session for which transactions wait does not.
func (b *appBackup) saveScript(ctx context.Context, c *container, part Part, script string) (stderr string, err error) {
	err = b.save(ctx, part, func(ctx context.Context, w io.Writer) error {
		stderr, err = c.run(ctx, nil, w, lowpriority.Shell()+script)
		return err
	})
	return stderr, err
}
