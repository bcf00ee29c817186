package backup

import (
	"archive/tar"
	"context"
	"errors"
	"fmt"
	"io"
	"path"
	"strings"
	"time"

	"github.com/theworklabs/edge/internal/dblog"
	"github.com/theworklabs/edge/internal/hint"
)

// storeLogs stores the logs of databases that still run, before a restore to a time: the last minute may be the one that matters. It is no
// failure that they cannot be stored. What is missing is found later.
func (r *restoreRun) storeLogs(ctx context.Context) error {
	if r.At.IsZero() {
		return nil
	}
	if r.Logical {
		return hint.New(errors.New("a dump cannot be rolled forward: --at and --logical exclude each other"), "leave one of them away")
	}
	if r.At.After(time.Now()) {
		return hint.New(fmt.Errorf("%s is in the future", r.At.Local().Format(time.DateTime)), "--at takes the time of this machine, or one with a zone: 2026-11-26T14:02:59Z")
	}
	if r.isNewHost || r.From != "" { // this project's databases are not those that were stored
		return nil
	}
	logs := &Logs{Docker: r.Docker, Project: r.Project, Edge: r.Edge, Always: true, Out: io.Discard}
	r.progress.startStep("store the latest logs")
	limited, cancel := context.WithTimeoutCause(ctx, latestLogsTimeout, fmt.Errorf("no answer within %v", latestLogsTimeout))
	defer cancel()
	if _, err := logs.Run(limited); err != nil {
		r.progress.printLine("note: the latest logs could not be stored: %v", err)
	}
	return ctx.Err()
}

// latestLogsTimeout is how long a restore waits for the logs of a database that may not answer.
const latestLogsTimeout = time.Minute

// findLogs finds the stored logs that roll a database forward to the time of the restore.
func (r *restoreRun) findLogs(ctx context.Context, t *target) error {
	if r.At.IsZero() || t.database == nil {
		return nil
	}
	span, err := dblog.ParseSpan(t.database.Span)
	if err != nil {
		return hint.New(fmt.Errorf("the set of %s cannot be rolled forward: %s wrote no log when it was stored", t.app, t.service), "restore it without --at")
	}
	snapshots, err := r.repository.Snapshots(ctx, tagEdge, tagLogs, tagProject+r.setsOf())
	if err != nil {
		return err
	}
	t.logs, err = r.coverWhole(ctx, t, span.To, storedLogs(snapshots)[t.service])
	if err == nil {
		return nil
	}
	next := "name an earlier time, or an earlier set; `edge backup list` has the sets"
	if end := (&dblog.EndError{}); errors.As(err, &end) {
		next = fmt.Sprintf("--at %q; what was written later is in no log", end.Reached.Local().Format(time.DateTime))
	}
	return hint.New(fmt.Errorf("%s cannot be rolled forward to %s: %w", t.service, r.At.Local().Format(time.DateTime), err), next)
}

// joinLogs is a script that reads an archive of pieces, and joins them to files.
const joinLogs = `
logs="$staged/.edge-logs"
mkdir "$logs"
tar -x -C "$logs"
for piece in $(ls "$logs" | sort); do
	cat "$logs/$piece" >>"$logs/${piece#*-}"
	rm "$logs/$piece"
done
chmod -R a+rX "$logs"
`

// pipeLogs runs a consumer of the log that a set has itself, and of the stored logs after it: an archive of pieces, whose names begin with their
// numbers.
func (r *restoreRun) pipeLogs(ctx context.Context, t *target, own Part, consume func(ctx context.Context, stdin io.Reader) error) error {
	return pipe(ctx, func(ctx context.Context, w io.Writer) error {
		archive, count := tar.NewWriter(w), 0
		joiner := &dblog.Joiner{Append: func(file string, size int64, content io.Reader) error {
			count++
			if err := archive.WriteHeader(&tar.Header{Name: fmt.Sprintf("%06d-%s", count, file), Mode: 0o600, Size: size}); err != nil {
				return err
			}
			_, err := io.Copy(archive, content)
			return err
		}}
		if err := readPieces(ctx, joiner, func(ctx context.Context, w io.Writer) error { return r.load(ctx, own, w) }, ""); err != nil {
			return fmt.Errorf("%s: %w", own.Name, err)
		}
		for _, stored := range t.logs {
			load := func(ctx context.Context, w io.Writer) error {
				return r.repository.Load(ctx, stored.Snapshot, logsPart, limitRate(ctx, r.limiter, w))
			}
			if err := readPieces(ctx, joiner, load, t.service+"/"); err != nil {
				return fmt.Errorf("the log of %s until %s: %w", t.service, stored.Until.Local().Format(time.TimeOnly), err)
			}
		}
		if n := len(t.logs); n > 0 && joiner.End().Compare(t.logs[n-1].Span.To) < 0 {
			return fmt.Errorf("the stored log of %s ends at %s, and should reach %s", t.service, joiner.End(), t.logs[n-1].Span.To)
		}
		return archive.Close()
	}, consume)
}

// readPieces adds the files of an archive to joiner whose names have a prefix. Files of a set are whole, and have no offset in their names.
func readPieces(ctx context.Context, joiner *dblog.Joiner, load func(context.Context, io.Writer) error, prefix string) error {
	return pipe(ctx, load, func(_ context.Context, content io.Reader) error {
		for archive := tar.NewReader(content); ; {
			header, err := archive.Next()
			if errors.Is(err, io.EOF) {
				_, err = io.Copy(io.Discard, content)
				return err
			}
			if err != nil {
				return err
			}
			name, isWanted := strings.CutPrefix(path.Clean(header.Name), prefix)
			if !isWanted || header.Typeflag != tar.TypeReg {
				continue
			}
			piece := dblog.Piece{File: name, To: header.Size}
			if strings.Contains(name, "@") {
				if piece, err = dblog.ParsePiece(name, header.Size); err != nil {
					return err
				}
			}
			if err := joiner.Add(piece, archive); err != nil {
				return err
			}
		}
	})
}
