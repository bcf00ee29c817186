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
	wholeFile   = ".edge-logs" // in the project's directory: the IDs of the last snapshots that are known to be whole
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

// maxNoted is more than the databases that a project has: the last snapshot of each is needed.
const maxNoted = 20

// noteWhole notes that a snapshot is whole. Without the note, the next run reads the snapshot.
func (l *Logs) noteWhole(snapshot string) {
	noted := append(l.notedWhole(), snapshot)
	noted = noted[max(0, len(noted)-maxNoted):]
	if err := os.WriteFile(filepath.Join(l.project.Directory, wholeFile), []byte(strings.Join(noted, "\n")+"\n"), 0o644); err != nil {
		l.progress.printLine("note: %v", err)
	}
}

// notedWhole returns what noteWhole has noted.
func (l *Logs) notedWhole() []string {
	text, _ := os.ReadFile(filepath.Join(l.project.Directory, wholeFile))
	return strings.Fields(string(text))
}

// dropIncomplete leaves the snapshots aside whose runs were killed, and removes them from the repository. Only those matter whose span is the last one
// of a service: the others were continued, and so are whole, or were left aside before.
func (l *Logs) dropIncomplete(ctx context.Context) error {
	for {
		dropped := false
		for service, all := range storedLogs(l.snapshots) {
			last := all[len(all)-1]
			isNoted := slices.ContainsFunc(l.notedWhole(), func(id string) bool { return strings.HasPrefix(last.Snapshot, id) }) // restic 0.14 abbreviates IDs
			if l.stack.Services[service] == nil || !last.HasTrailer || isNoted || dblog.IsContinued(all, last) {
				continue
			}
			err := checkTrailer(ctx, l.repository, last.Snapshot)
			if err == nil {
				l.noteWhole(last.Snapshot)
				continue
			}
			if !errors.Is(err, errNoTrailer) {
				return fmt.Errorf("read the latest logs: %w", err)
			}
			l.progress.printLine("note: the last run was killed, and what it stored is removed")
			if err := l.repository.Forget(ctx, last.Snapshot); err != nil && ctx.Err() == nil { // such as with credentials that can only add
				l.progress.printLine("note: it could not be removed, and is left aside: %v", err)
			}
			l.snapshots = slices.DeleteFunc(l.snapshots, func(s restic.Snapshot) bool { return s.ID == last.Snapshot })
			dropped = true
			break
		}
		if !dropped {
			return nil
		}
	}
}

// coverWhole is [dblog.Cover] with snapshots that were stored as a whole: it leaves those aside that are not.
func (r *restoreRun) coverWhole(ctx context.Context, t *target, from dblog.Position, all []dblog.Stored) ([]dblog.Stored, error) {
	for {
		selected, coverErr := dblog.Cover(all, from, t.manifest.Start, r.At)
		candidates := selected
		if coverErr != nil { // the time until which the logs reach is part of the error, and must be true
			candidates = all
		}
		var incomplete string
		for _, s := range candidates {
			if !s.HasTrailer || s.Until.Before(t.manifest.Start) || dblog.IsContinued(all, s) {
				continue
			}
			if err := checkTrailer(ctx, r.repository, s.Snapshot); err != nil {
				if ctx.Err() != nil {
					return nil, err
				}
				r.progress.printLine("note: the logs until %s are left aside: %v", s.Until.Local().Format(time.TimeOnly), err)
				incomplete = s.Snapshot
				break
			}
		}
		if incomplete == "" {
			return selected, coverErr
		}
		all = slices.DeleteFunc(slices.Clone(all), func(s dblog.Stored) bool { return s.Snapshot == incomplete })
	}
}
