package backup

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"runtime"
	"slices"
	"strconv"
	"time"

	"github.com/theworklabs/edge/internal/compose"
	"github.com/theworklabs/edge/internal/hint"
)

// Backup stores the data of a project's applications. A Backup runs once.
type Backup struct {
	Docker  Docker
	Project compose.Project
	// Apps are the applications; if there are none, all are.
	Apps []string
	// Edge is the Compose service whose image has restic, for machines that have none.
	Edge string
	// Out gets a line for each step.
	Out io.Writer
	// IsTerminal says that Out is a terminal, on which a line can be overwritten while a step lasts.
	IsTerminal bool
	// AcceptShrunk stores sets that have much less data than those before without an alarm.
	AcceptShrunk bool
	// MigrationTimeout is how long a backup waits for database migrations. 0 means 10 minutes.
	MigrationTimeout time.Duration
	// Wait is how long it waits for the end of another backup, restore or drill.
	Wait time.Duration
	// MaxRate is the limit in bytes per second, 0 for none; nil means that of x-edge-backup.
	MaxRate *int64

	session
	leftovers []string // snapshots of sets that were not completed, which could not be removed at the beginning
}

// Result is what a backup has stored.
type Result struct {
	Set  string      `json:"set"`
	Apps []AppResult `json:"apps"`
	// CopyError is why the sets could not be copied to the second repository.
	CopyError string `json:"copy_error,omitempty"`
}

// AppResult is what a backup has stored of one application.
type AppResult struct {
	App      string   `json:"app"`
	Size     int64    `json:"size"`    // bytes
	Added    int64    `json:"added"`   // bytes that the repository did not have
	Seconds  float64  `json:"seconds"` // duration
	Shrunk   []string `json:"shrunk,omitempty"`
	Warnings []string `json:"warnings,omitempty"`
	Error    string   `json:"error,omitempty"`
}

// ErrShrunk says that a set is stored, but is much smaller than the one before.
var ErrShrunk = errors.New("the backup is stored, but has much less data than the one before")

// appBackup is the backup of one application.
type appBackup struct {
	*Backup
	app      App
	manifest *Manifest
	files    *fileNames // of all of its archives
	host     string
}

// open opens the project and its repository, and returns what is to be backed up.
func (b *Backup) open(ctx context.Context) (*Plan, error) {
	b.progress, b.isLowPriority = &progress{out: b.Out, isTerminal: b.IsTerminal}, true
	if err := b.openProject(ctx, b.Docker, b.Project, b.Edge); err != nil {
		return nil, err
	}
	if b.MaxRate != nil {
		b.options.MaxRate = *b.MaxRate
	}
	b.limiter = newLimiter(b.options.MaxRate)
	plan, err := b.plan.Select(b.Apps)
	if err != nil {
		return nil, err
	}
	return plan, b.findRepository(ctx)
}

// Run stores a set for each application. An application whose backup fails does not keep the others from being stored. The edge is told of
// each failure, also of one before the first set.
func (b *Backup) Run(ctx context.Context) (*Result, error) {
	result, err := b.run(ctx)
	b.notify(ctx, "edge backup", err)
	return result, err
}

func (b *Backup) run(ctx context.Context) (*Result, error) {
	start := time.Now()
	plan, err := b.open(ctx)
	if err != nil {
		return nil, b.reportFailure(ctx, plan, err)
	}
	unlock, err := b.awaitProject(ctx, b.Wait)
	if err != nil {
		return nil, err // the other one has its own report
	}
	defer unlock()
	if now := time.Now(); now.Sub(start) > time.Minute { // it has waited: what was read before may have changed
		start = now
		if plan, err = b.open(ctx); err != nil {
			return nil, b.reportFailure(ctx, plan, err)
		}
	}
	b.removeLeftDrill(ctx)
	if j, err := readJournal(b.project.Directory); err != nil || j != nil { // what the data is, is not decided yet
		if err == nil {
			err = hint.New(errors.New("a restore is not finished"), "edge restore latest finishes it")
		}
		return nil, b.reportFailure(ctx, plan, err)
	}
	earlier, host, err := b.prepare(ctx)
	if err != nil {
		return nil, b.reportFailure(ctx, plan, err)
	}
	result := &Result{Set: newSetID(start, earlier)}
	var failures []error
	hasShrunk := false
	b.progress.expect(expectedSize(plan.Apps, earlier))
	for _, app := range plan.Apps {
		a := &appBackup{Backup: b, app: app, files: newFileNames(), host: host}
		r := a.run(ctx, result.Set, earlier)
		result.Apps = append(result.Apps, r.AppResult)
		hasShrunk = hasShrunk || len(r.Shrunk) > 0
		if r.err != nil {
			failures = append(failures, fmt.Errorf("%s: %w", app.Name, r.err))
		}
		if ctx.Err() != nil {
			break
		}
	}
	b.progress.expect(0)
	if ctx.Err() == nil && len(failures) < len(plan.Apps) {
		if err := b.repository.Forget(ctx, b.leftovers...); err != nil {
			b.progress.printLine("warning: sets that were not completed could not be removed: %v", err)
		}
		failures = append(failures, b.removeExpired(ctx, b.repository, nil))
		if err := b.copySets(ctx); err != nil {
			result.CopyError = err.Error()
			failures = append(failures, err)
		}
	}
	b.report(ctx, result, start)
	if err := errors.Join(failures...); err != nil {
		return result, err
	}
	if hasShrunk {
		return result, hint.New(ErrShrunk, "see that no data is lost: no older set is removed meanwhile. If it is meant to be so: edge backup --accept-shrunk")
	}
	return result, nil
}

// expectedSize returns the bytes that a backup of applications is going to read: those of their latest sets. It is 0 if one has none.
func expectedSize(apps []App, earlier []*Set) (total int64) {
	for _, app := range apps {
		var last *Set
		for _, s := range earlier { // the oldest first
			if s.App == app.Name {
				last = s
			}
		}
		if last == nil {
			return 0
		}
		total += last.Size
	}
	return total
}

// prepare waits until the project can be backed up, removes what an earlier backup has left, and returns the complete sets and the name of this
// machine.
func (b *Backup) prepare(ctx context.Context) (earlier []*Set, host string, err error) {
	if err := b.repository.AwaitUnlocked(ctx); err != nil {
		return nil, "", err
	}
	sets, err := listSets(ctx, b.repository, b.stack.Name)
	if err != nil {
		return nil, "", err
	}
	if err := b.checkSpace(sets); err != nil {
		return nil, "", err
	}
	if err := b.awaitMigrations(ctx); err != nil {
		return nil, "", err
	}
	if host, err = os.Hostname(); err != nil {
		return nil, "", err
	}
	if err := b.repository.Unlock(ctx); err != nil { // credentials that can only append
		b.progress.printLine("warning: old locks could not be removed: %v", err)
	}
	if warning := clockWarning(sets, time.Now()); warning != "" {
		b.progress.printLine("warning: %s", warning)
	}
	for _, s := range sets {
		if warning := s.damageWarning(); warning != "" {
			b.progress.printLine("warning: %s", warning)
		}
	}
	if leftovers := reapable(sets, host, time.Now()); b.repository.Forget(ctx, leftovers...) != nil {
		b.leftovers = leftovers // a restic whose edge was killed may still hold its lock
	}
	return completeSets(sets), host, nil
}

// appResult is the result of one application, with its error.
type appResult struct {
	AppResult
	err error
}

// run stores the set of one application.
func (b *appBackup) run(ctx context.Context, set string, earlier []*Set) appResult {
	start := time.Now()
	b.manifest = &Manifest{
		Version: manifestVersion, Set: set, Project: b.stack.Name, App: b.app.Name, Start: start.UTC(),
		Architecture: runtime.GOARCH, Images: make(map[string]string), ImageDigests: make(map[string]string),
	}
	err := b.storeParts(ctx)
	if err == nil {
		if noteErr := b.noteDigests(ctx); noteErr != nil {
			b.manifest.Warnings = append(b.manifest.Warnings, fmt.Sprintf("the digests of the images are not known: %v", noteErr))
		}
		b.manifest.Shrunk, err = b.compare(ctx, earlier)
	}
	if err == nil {
		b.manifest.End = time.Now().UTC()
		err = b.storeManifest(ctx)
	}
	r := appResult{AppResult{
		App: b.app.Name, Size: b.manifest.Size(), Added: b.manifest.Added(), Seconds: time.Since(start).Seconds(),
		Shrunk: b.manifest.Shrunk, Warnings: b.manifest.Warnings,
	}, err}
	for _, text := range slices.Concat(r.Shrunk, r.Warnings) {
		b.progress.printLine("%s: warning: %s", b.app.Name, text)
	}
	if err != nil {
		r.Error = err.Error()
		b.progress.printLine("%s: failed, and no set is stored", b.app.Name)
		return r
	}
	b.progress.printLine("%s: set %s, %s, %s added (%.1fs)", b.app.Name, set, FormatBytes(r.Size), FormatBytes(r.Added), r.Seconds)
	return r
}

// storeParts stores the data of the application's services, one after the other.
func (b *appBackup) storeParts(ctx context.Context) error {
	for _, source := range b.app.Sources {
		store := map[Kind]func(context.Context, Source) error{
			MariaDB: b.backUpMariaDB, Postgres: b.backUpPostgres, Mongo: b.backUpMongo, Redis: b.backUpRedis, Files: b.backUpFiles,
		}[source.Kind]
		if err := store(ctx, source); err != nil {
			return err
		}
	}
	b.countMissingAttachments()
	b.warnOfInconsistencies()
	if b.app.Name == EdgeApp {
		return b.backUpProjectFiles(ctx)
	}
	return nil
}

// warnOfInconsistencies says what the databases lack already: a restore and a drill compare with that, and fail for more only.
func (b *appBackup) warnOfInconsistencies() {
	for _, d := range b.manifest.Databases {
		for _, name := range slices.Sorted(maps.Keys(d.Inconsistencies)) {
			if name == missingAttachments {
				continue // countMissingAttachments has said that
			}
			b.manifest.Warnings = append(b.manifest.Warnings, fmt.Sprintf("%s: %s: %d", d.Service, name, d.Inconsistencies[name]))
		}
	}
}

// container returns the container of a service, and notes its image in the manifest.
func (b *appBackup) container(ctx context.Context, service string) (*container, error) {
	c, err := findContainer(ctx, b.Docker, b.stack.Name, service)
	if err == nil {
		b.manifest.Images[service] = c.Image
	}
	return c, err
}

// tags returns the tags of a part's snapshot.
func (b *appBackup) tags(part string) []string {
	return []string{
		tagEdge, tagProject + b.stack.Name, tagApp + b.app.Name, tagHost + b.host, tagSet + b.manifest.Set, tagPart + part,
	}
}

// storeManifest completes the set.
func (b *appBackup) storeManifest(ctx context.Context) error {
	text, err := json.MarshalIndent(b.manifest, "", "  ")
	if err != nil {
		return err
	}
	tags := append(
		b.tags(manifestPart), tagSize+strconv.FormatInt(b.manifest.Size(), 10), tagAdded+strconv.FormatInt(b.manifest.Added(), 10),
		tagParts+strconv.Itoa(len(b.manifest.Parts)),
	)
	if len(b.manifest.Shrunk) > 0 {
		tags = append(tags, tagShrunk+strconv.Itoa(len(b.manifest.Shrunk)))
	}
	for _, d := range b.manifest.Databases {
		if d.Span != "" {
			tags = append(tags, tagSpan+d.Service+"="+d.Span)
		}
	}
	_, err = b.repository.SaveText(ctx, manifestPart, tags, text)
	return err
}

// List returns the complete sets of the project, the oldest first.
func (b *Backup) List(ctx context.Context) ([]*Set, error) {
	_, err := b.open(ctx)
	if err != nil {
		return nil, err
	}
	sets, err := listSets(ctx, b.repository, b.stack.Name)
	return completeSets(sets), err
}

// Verify checks the structure of the repository, and reads a subset of its data: 5%, 1/7 or none.
func (b *Backup) Verify(ctx context.Context, subset string) error {
	_, err := b.open(ctx)
	if err != nil {
		return err
	}
	unlock, err := lockProject(b.stack.Name + pruneLock)
	if err != nil {
		return hint.New(errors.New("the repository is being pruned, or verified"), "try it again in some minutes")
	}
	defer unlock()
	b.progress.startStep("check the repository")
	err = b.repository.Check(ctx, subset)
	if err != nil && ctx.Err() == nil { // another machine may have removed something meanwhile: no lock keeps it from that
		b.progress.printLine("something is wrong, or was removed meanwhile (%v): checks again", err)
		err = b.repository.Check(ctx, subset)
	}
	if err != nil {
		return err
	}
	b.progress.finishStep("the repository is sound")
	return nil
}
