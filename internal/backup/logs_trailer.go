package backup

import (
	"archive/tar"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/theworklabs/edge/internal/dblog"
	"github.com/theworklabs/edge/internal/restic"
)

// An `edge backup logs` that is killed closes restic's input, and restic takes that for the end of the data: it stores the beginning of the archive as a
// snapshot like any other. So the last entry of an archive is a trailer, and a snapshot that has none is never used. To look for it, the archive has to be
// read. That is seldom necessary: a run notes what it has stored as a whole, and builds on nothing else.
const (
	logsTrailer = "complete"   // the name of the last entry
	tagTrailer  = "trailer"    // of a snapshot that must have one; those of older versions have none
	wholeFile   = ".edge-logs" // in the project's directory: the ID of the last snapshot that was stored as a whole
)

// writeTrailer ends an archive.
func writeTrailer(archive *tar.Writer) error {
	if err := archive.WriteHeader(&tar.Header{Name: logsTrailer, Mode: 0o600}); err != nil {
		return err
	}
	return archive.Close()
}

// errNoTrailer says that only the beginning of an archive was stored.
var errNoTrailer = errors.New("it is not complete: edge backup logs was killed")

// checkTrailer reads a snapshot. It returns errNoTrailer if its end is missing.
func checkTrailer(ctx context.Context, repository *restic.Repository, snapshot string) error {
	return pipe(ctx, func(ctx context.Context, w io.Writer) error {
		return repository.Load(ctx, snapshot, logsPart, w)
	}, func(_ context.Context, content io.Reader) error {
		err := findTrailer(content)
		_, drainErr := io.Copy(io.Discard, content)
		return errors.Join(err, drainErr)
	})
}

// findTrailer reads an archive to its end. It returns errNoTrailer if that is missing.
func findTrailer(content io.Reader) error {
	last := ""
	for archive := tar.NewReader(content); ; {
		header, err := archive.Next()
		if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
			break
		}
		if err != nil {
			return err
		}
		last = header.Name
	}
	if last != logsTrailer {
		return errNoTrailer
	}
	return nil
}

// noteWhole notes that a snapshot was stored as a whole. Without the note, the next run reads the snapshot.
func (l *Logs) noteWhole(snapshot string) {
	if err := os.WriteFile(filepath.Join(l.project.Directory, wholeFile), []byte(snapshot+"\n"), 0o644); err != nil {
		l.progress.printLine("note: %v", err)
	}
}

// dropIncomplete leaves the latest snapshots aside whose runs were killed, and removes them from the repository.
func (l *Logs) dropIncomplete(ctx context.Context) error {
	text, _ := os.ReadFile(filepath.Join(l.project.Directory, wholeFile))
	whole := strings.TrimSpace(string(text))
	for i, s := range slices.Backward(l.snapshots) {
		if !isLogs(s) {
			continue
		}
		isOld := !slices.Contains(s.Tags, tagTrailer)
		if isOld || whole != "" && strings.HasPrefix(s.ID, whole) {
			return nil
		}
		err := checkTrailer(ctx, l.repository, s.ID)
		if err == nil {
			return nil
		}
		if !errors.Is(err, errNoTrailer) {
			return fmt.Errorf("read the latest logs: %w", err)
		}
		l.progress.printLine("note: the last run was killed, and what it stored is removed")
		if err := l.repository.Forget(ctx, s.ID); err != nil && ctx.Err() == nil { // such as with credentials that can only add
			l.progress.printLine("note: it could not be removed, and is left aside: %v", err)
		}
		l.snapshots = slices.Delete(l.snapshots, i, i+1)
	}
	return nil
}

// isLogs reports whether a snapshot has logs.
func isLogs(s restic.Snapshot) bool { return parseTags(s.Tags)[tagUntil] != "" }

// wholeLogs returns the spans since a time whose snapshots were stored as a whole. What a later span continues, its run has known to be whole; the others,
// which are few, are read.
func (r *restoreRun) wholeLogs(ctx context.Context, all []dblog.Stored, since time.Time) (whole []dblog.Stored, err error) {
	for _, s := range all {
		if s.Until.Before(since) {
			continue
		}
		if s.HasTrailer && !dblog.IsContinued(all, s) {
			err := checkTrailer(ctx, r.repository, s.Snapshot)
			if errors.Is(err, errNoTrailer) {
				r.progress.printLine("note: the logs until %s are left aside: %v", s.Until.Local().Format(time.TimeOnly), err)
				continue
			}
			if err != nil {
				return nil, err
			}
		}
		whole = append(whole, s)
	}
	return whole, nil
}
