package backup

import (
	"archive/tar"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/theworklabs/edge/internal/compose"
	"github.com/theworklabs/edge/internal/dblog"
	"github.com/theworklabs/edge/internal/hint"
	"github.com/theworklabs/edge/internal/recovery"
	"github.com/theworklabs/edge/internal/restic"
)

// Logs stores what the databases of a project have written to their logs since the last time, so that a set can be rolled forward to any time
// after it. It runs each minute, also while a backup runs. A Logs runs once.
type Logs struct {
	Docker  Docker
	Project compose.Project
	// Edge is the Compose service that runs the edge: see [Backup.Edge].
	Edge string
	// Always stores a snapshot even if nothing was written: it says that nothing was.
	Always bool
	Out    io.Writer

	session
	now       time.Time
	snapshots []restic.Snapshot // of the project
	sets      []*Set            // that are complete
	stored    map[string][]dblog.Stored
}

// LogsResult is what was stored.
type LogsResult struct {
	Until time.Time          `json:"until"` // what was committed before can be restored
	Bytes int64              `json:"bytes"`
	Apps  []recovery.LogInfo `json:"apps"`
}

// The tags of a snapshot with logs. A span is of the service that its tag names.
const (
	tagLogs   = "logs"
	tagUntil  = "until="  // in milliseconds since 1970
	tagCovers = "covers=" // how many runs it has
	tagSpan   = "log."    // log.SERVICE=SPAN
	logsPart  = "logs.tar"
)

// mergeAfter is how many runs are merged to one snapshot: a restore reads each of them.
const mergeAfter = 30

// logSource is the log of one service, and what is stored of it this time.
type logSource struct {
	app    string
	log    *runningLog
	span   dblog.Span
	pieces []dblog.Piece
}

// Run stores the logs of all databases. One that fails does not keep the others from being stored.
func (l *Logs) Run(ctx context.Context) (*LogsResult, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, logsTimeout, fmt.Errorf("the logs are not stored after %v: does a database, or the repository, not answer?", logsTimeout))
	defer cancel()
	result, err := l.run(ctx)
	l.notifyOnce(context.WithoutCancel(ctx), "edge backup logs", err)
	return result, err
}

// logsTimeout is how long one run may take. Otherwise a database that does not answer would keep all later runs from beginning.
const logsTimeout = 10 * time.Minute

func (l *Logs) run(ctx context.Context) (*LogsResult, error) {
	l.progress, l.isLowPriority = &progress{out: l.Out}, true
	if err := l.openProject(ctx, l.Docker, l.Project, l.Edge); err != nil {
		return nil, err
	}
	unlock, err := lockProject(l.stack.Name + " logs")
	if err != nil {
		return nil, err
	}
	defer unlock()
	if j, err := readJournal(l.project.Directory); err != nil || j != nil {
		if err == nil {
			l.progress.printLine("nothing is stored: a restore is under way, or was interrupted")
		}
		return nil, err
	}
	l.now = time.Now().UTC()
	result := &LogsResult{Until: l.now}
	err = l.store(ctx, result)
	for i := range result.Apps {
		if err != nil && result.Apps[i].Error == "" {
			result.Apps[i].Error = err.Error()
		}
	}
	report := l.newReport()
	report.Logs = result.Apps
	var copyErr error
	if err == nil && l.isTimeToCopy() {
		copyErr = l.copyToSecond(ctx)
		report.LogsCopy = new(recovery.CopyOutcome)
		if copyErr != nil {
			report.LogsCopy.Error = copyErr.Error()
		}
	}
	l.sendReport(ctx, report)
	if err != nil {
		return result, err
	}
	for _, app := range result.Apps {
		if app.Error != "" {
			return result, fmt.Errorf("%s: %s", app.App, app.Error)
		}
	}
	l.progress.printLine("stored %s of logs, until %s", FormatBytes(result.Bytes), result.Until.Local().Format(time.TimeOnly))
	return result, copyErr
}

// copyMinutes is the time between two copies of the logs to the second repository. Each of them reads the indexes of both repositories.
const copyMinutes = 4

// isTimeToCopy reports whether this run is one of those that copy the logs to the second repository.
func (l *Logs) isTimeToCopy() bool {
	return l.settings != nil && l.settings.CopyTo != "" && (l.Always || l.now.Minute()%copyMinutes == 0)
}

// copyToSecond copies the logs to the second repository. It does not wait while a backup removes old sets there: a later run copies them.
func (l *Logs) copyToSecond(ctx context.Context) error {
	err := l.copyLogs(ctx, l.settings.repository(l.repository.Program, l.settings.CopyTo))
	if locked, ok := errors.AsType[*restic.Error](err); ok && locked.Kind == restic.Locked {
		l.progress.printLine("note: the logs are not copied now: %v", err)
		return nil
	}
	return err
}

// store stores one snapshot, and notes in the result how far the logs of each application reach.
func (l *Logs) store(ctx context.Context, result *LogsResult) error {
	var apps []App
	for _, app := range l.plan.Apps {
		if slices.ContainsFunc(app.Sources, hasLog) {
			apps = append(apps, app)
			result.Apps = append(result.Apps, recovery.LogInfo{App: app.Name, Until: l.now})
		}
	}
	if len(apps) == 0 {
		return nil
	}
	if err := l.findRepository(ctx); err != nil {
		return err
	}
	var err error
	if l.snapshots, err = l.repository.Snapshots(ctx, tagEdge, tagProject+l.stack.Name); err != nil {
		return err
	}
	if err := checkWritable(l.settings.Repository); err != nil {
		return err
	}
	if err := l.dropIncomplete(ctx); err != nil {
		return err
	}
	l.sets, l.stored = completeSets(groupSets(l.snapshots, l.stack.Name)), storedLogs(l.snapshots)
	var sources []*logSource
	for i, app := range apps {
		for _, s := range app.Sources {
			if !hasLog(s) {
				continue
			}
			source, err := l.read(ctx, app.Name, s)
			if err != nil {
				result.Apps[i].Error = err.Error()
				continue
			}
			sources = append(sources, source)
		}
	}
	merged := l.merge(sources)
	if l.Always && len(sources) > 0 || slices.ContainsFunc(sources, l.hasNews) {
		if result.Bytes, err = l.saveUnlocked(ctx, sources, len(merged)+1); err != nil {
			return err
		}
		if err := l.repository.Forget(ctx, merged...); err != nil && ctx.Err() == nil {
			l.progress.printLine("note: %d snapshots whose logs are stored again could not be removed: %v", len(merged), err) // the next backup does it
		}
	}
	for _, s := range sources {
		l.stored[s.log.service] = append(l.stored[s.log.service], dblog.Stored{Until: l.now, Span: s.span})
	}
	for i, app := range apps {
		if result.Apps[i].Error == "" {
			result.Apps[i].Error = l.missingLink(app.Name, sources)
		}
	}
	return nil
}

func hasLog(s Source) bool { return s.Kind == MariaDB || s.Kind == Postgres }

// hasNews reports whether a log has grown, or begun anew.
func (l *Logs) hasNews(s *logSource) bool {
	all := l.stored[s.log.service]
	return len(s.pieces) > 0 || len(all) == 0 || all[len(all)-1].Span.Chain != s.span.Chain
}

// read finds what is new in the log of a service.
func (l *Logs) read(ctx context.Context, app string, of Source) (*logSource, error) {
	c, err := findContainer(ctx, l.Docker, l.stack.Name, of.Service)
	if err != nil {
		return nil, err
	}
	log, err := readLog(ctx, c, of.Kind)
	if errors.Is(err, errNoLog) {
		return nil, hint.New(fmt.Errorf("%s: %w", of.Service, err), "start it with --log-bin, as compose.yaml does")
	}
	if err != nil {
		return nil, err
	}
	var candidates []dblog.Span
	if all := l.stored[of.Service]; len(all) > 0 {
		candidates = append(candidates, all[len(all)-1].Span)
	}
	for _, set := range slices.Backward(l.sets) {
		if span, err := dblog.ParseSpan(set.spans[of.Service]); set.App == app && err == nil {
			candidates = append(candidates, span)
			break
		}
	}
	positions := []dblog.Position{log.current}
	for _, s := range candidates {
		positions = append(positions, s.To)
	}
	marks, err := log.marks(ctx, positions...)
	if err != nil {
		return nil, err
	}
	source := &logSource{app: app, log: log, span: dblog.Span{From: log.current, To: log.current, Mark: marks[0]}}
	for i, s := range candidates {
		if marks[i+1] == "" || marks[i+1] != s.Mark || s.To.Compare(log.current) > 0 {
			continue // the server has another log now, or has removed that file
		}
		if source.span.Chain, source.span.From = s.Chain, s.To; s.To != log.current {
			if source.pieces, err = dblog.Pieces(log.files, s.To, log.current); errors.Is(err, dblog.ErrGap) {
				source.span.Chain, source.span.From = "", log.current
				continue
			} else if err != nil {
				return nil, err
			}
		}
		break
	}
	if source.span.Chain == "" {
		source.span.Chain = strings.ToLower(rand.Text()[:8])
	}
	return source, nil
}

// merge has the sources begin where many runs have begun, and returns the snapshots of those runs, which are not needed then. It changes nothing if
// there are not many of them, or a server no longer has the files.
func (l *Logs) merge(sources []*logSource) (snapshots []string) {
	begins := make(map[string]dblog.Position)
	for _, s := range slices.Backward(l.snapshots) {
		tags := parseTags(s.Tags)
		if tags[tagUntil] == "" {
			continue
		}
		if tags[tagCovers] != "1" {
			break
		}
		spans := spansOf(s.Tags)
		if slices.ContainsFunc(sources, func(source *logSource) bool {
			span, err := dblog.ParseSpan(spans[source.log.service])
			return err != nil || span.Chain != source.span.Chain
		}) {
			break
		}
		for service, text := range spans {
			if span, err := dblog.ParseSpan(text); err == nil {
				begins[service] = span.From
			}
		}
		snapshots = append(snapshots, s.ID)
	}
	if len(snapshots) < mergeAfter || len(begins) != len(sources) {
		return nil
	}
	pieces := make([][]dblog.Piece, len(sources))
	for i, source := range sources {
		var err error
		if pieces[i], err = dblog.Pieces(source.log.files, begins[source.log.service], source.span.To); err != nil {
			return nil
		}
	}
	for i, source := range sources {
		source.span.From, source.pieces = begins[source.log.service], pieces[i]
	}
	return snapshots
}

const (
	lockedAttempts = 60 // within logsTimeout
	lockedWait     = 8 * time.Second
)

// saveUnlocked is save, which waits while a backup removes old sets from the repository.
func (l *Logs) saveUnlocked(ctx context.Context, sources []*logSource, covers int) (bytes int64, err error) {
	for attempt := 1; ; attempt++ {
		bytes, err = l.save(ctx, sources, covers)
		locked, isRestic := errors.AsType[*restic.Error](err)
		if !isRestic || locked.Kind != restic.Locked || attempt == lockedAttempts {
			return bytes, err
		}
		select {
		case <-time.After(lockedWait):
		case <-ctx.Done():
			return 0, context.Cause(ctx)
		}
	}
}

// save stores the pieces of all sources as one snapshot.
func (l *Logs) save(ctx context.Context, sources []*logSource, covers int) (bytes int64, err error) {
	host, err := os.Hostname()
	if err != nil {
		return 0, err
	}
	tags := []string{
		tagEdge, tagLogs, tagTrailer, tagProject + l.stack.Name, tagHost + host, tagUntil + strconv.FormatInt(l.now.UnixMilli(), 10), tagCovers + strconv.Itoa(covers),
	}
	for _, s := range sources {
		tags = append(tags, tagSpan+s.log.service+"="+s.span.String())
	}
	saved, err := l.repository.Save(ctx, logsPart, tags, func(ctx context.Context, w io.Writer) error {
		archive := tar.NewWriter(w)
		for _, s := range sources {
			err := s.log.copyPieces(ctx, s.pieces, func(p dblog.Piece, content io.Reader) error {
				if err := archive.WriteHeader(&tar.Header{Name: s.log.service + "/" + p.Name(), Mode: 0o600, Size: p.To - p.From}); err != nil {
					return err
				}
				n, err := io.Copy(archive, content)
				if bytes += n; err == nil && n != p.To-p.From {
					err = fmt.Errorf("%s: got %d bytes of %s, want %d", s.log.service, n, p.Name(), p.To-p.From)
				}
				return err
			})
			if err != nil {
				return err
			}
		}
		return writeTrailer(archive)
	})
	if err != nil {
		return 0, fmt.Errorf("store the logs: %w", err)
	}
	l.noteWhole(saved.SnapshotID)
	return bytes, nil
}

// missingLink returns why the latest set of an application cannot be rolled forward to now; "" if it can.
func (l *Logs) missingLink(app string, sources []*logSource) string {
	var latest *Set
	for _, s := range l.sets {
		if s.App == app {
			latest = s
		}
	}
	if latest == nil {
		return "there is no set yet that the logs could continue: run edge backup"
	}
	for _, s := range sources {
		if s.app != app || latest.Time.After(l.now) {
			continue
		}
		span, err := dblog.ParseSpan(latest.spans[s.log.service])
		if err == nil {
			_, err = dblog.Cover(l.stored[s.log.service], span.To, latest.Time, l.now)
		}
		if err != nil {
			return fmt.Sprintf("the log of %s does not continue the last set: run edge backup (%v)", s.log.service, err)
		}
	}
	return ""
}
