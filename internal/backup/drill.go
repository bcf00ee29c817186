package backup

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/theworklabs/edge/internal/compose"
	"github.com/theworklabs/edge/internal/hint"
	"github.com/theworklabs/edge/internal/lowpriority"
	"github.com/theworklabs/edge/internal/recovery"
)

// Drill restores a set into a scratch project, starts its applications there, and checks the data. It changes nothing of the project itself.
// A Drill runs once.
type Drill struct {
	Docker  Docker
	Project compose.Project
	// Set is the ID of a set or its beginning, "latest" or "random".
	Set string
	// Edge is the Compose service that runs the edge: see [Restore.Edge].
	Edge string
	// Logical restores databases from their dumps.
	Logical bool
	// Keep leaves the scratch project, for a look at it.
	Keep bool
	// Out gets a line for each step.
	Out io.Writer
	// IsTerminal says that Out is a terminal, on which a line can be overwritten while a step lasts.
	IsTerminal bool
	// StartTimeout is how long databases and applications may take to become healthy: see [Restore.StartTimeout].
	StartTimeout time.Duration
	// Wait is how long it waits for the end of another backup, restore or drill.
	Wait time.Duration
}

// DrillResult is what a drill has measured.
type DrillResult struct {
	Sets          map[string]string `json:"sets"` // application → ID of its set
	Logical       bool              `json:"logical"`
	Start         time.Time         `json:"start"`
	RecoveryPoint time.Time         `json:"recovery_point"` // the beginning of the oldest of the sets: later changes are lost
	// RecoverySeconds is the time from the beginning to the end of the last check, and StepSeconds what each step of it took.
	RecoverySeconds float64            `json:"recovery_seconds"`
	StepSeconds     map[string]float64 `json:"step_seconds"`
	// NotRestored are the parts that the drill says nothing of.
	NotRestored []string `json:"not_restored,omitempty"`
	Error       string   `json:"error,omitempty"`
}

// summary describes a drill that has passed.
func (r *DrillResult) summary() string {
	without := ""
	if len(r.NotRestored) > 0 {
		without = ", without " + strings.Join(r.NotRestored, " and ") + ", which it cannot restore"
	}
	return fmt.Sprintf("the drill of %s has passed%s: restored and checked in %.0fs, the data is of %s",
		joinSets(r.Sets), without, r.RecoverySeconds, r.RecoveryPoint.Local().Format(time.DateTime))
}

// IsLogicalWeek reports whether drills that restore physical copies and dumps in turn restore the dumps: in even weeks of the calendar.
func IsLogicalWeek(now time.Time) bool {
	_, week := now.ISOWeek()
	return week%2 == 0
}

// Run runs the drill. The result is nil if it could not begin. Each failure is reported to the edge.
func (d *Drill) Run(ctx context.Context) (*DrillResult, error) {
	source := session{progress: &progress{out: d.Out, isTerminal: d.IsTerminal}, isLowPriority: true}
	result, err := d.run(ctx, &source)
	source.notify(ctx, "edge drill", err)
	return result, err
}

func (d *Drill) run(ctx context.Context, source *session) (result *DrillResult, err error) {
	if err := source.openProject(ctx, d.Docker, d.Project, d.Edge); err != nil {
		return nil, err
	}
	unlock, err := source.awaitProject(ctx, d.Wait)
	if err != nil {
		return nil, err
	}
	defer unlock()
	if err := source.openProject(ctx, d.Docker, d.Project, d.Edge); err != nil { // it may have waited for hours
		return nil, err
	}
	source.removeLeftDrill(ctx)
	selected, isWhole, err := d.prepare(ctx, source)
	if err == nil {
		result, err = d.rehearse(ctx, source, selected)
	}
	report := source.newReport()
	report.Drill = new(recovery.DrillOutcome)
	if result != nil {
		report.Drill = &recovery.DrillOutcome{Sets: result.Sets, RecoverySeconds: result.RecoverySeconds, StepSeconds: result.StepSeconds}
	}
	if err != nil {
		report.Drill.Error = err.Error()
	}
	if isWhole || err != nil { // that one application can be restored does not say so of the others
		source.sendReport(ctx, report)
	}
	if err != nil {
		return result, err
	}
	source.progress.printLine("%s", result.summary())
	for _, s := range selected {
		if err := source.repository.AddTag(ctx, s.manifest.ID, tagDrilled+result.Start.Format("20060102-150405")); err != nil {
			source.progress.printLine("warning: the set could not be marked: %v", err)
			break
		}
	}
	return result, nil
}

// prepare returns the sets that are going to be restored. isWhole says that they are of all applications.
func (d *Drill) prepare(ctx context.Context, source *session) (selected []*Set, isWhole bool, err error) {
	if err := source.findRepository(ctx); err != nil {
		return nil, false, err
	}
	sets, err := listSets(ctx, source.repository, source.stack.Name)
	if err != nil {
		return nil, false, err
	}
	present := source.presentSets(sets)
	name := drillSet(present, d.Set)
	if selected, err = selectSets(present, name, nil); err != nil {
		return nil, false, err
	}
	if len(selected) == 0 {
		return nil, false, hint.New(fmt.Errorf("the set %s has the files of the project, and no data of an application", name), "edge backup list")
	}
	isWhole = len(selected) == len(dataApps(present))
	if files, err := selectSets(present, name, []string{EdgeApp}); err == nil {
		selected = append(selected, files...)
	}
	return selected, isWhole, d.checkRoom(ctx, selected)
}

// dataApps returns the applications of sets, without [EdgeApp].
func dataApps(sets []*Set) []string {
	return slices.DeleteFunc(appsOf(sets, "latest"), func(app string) bool { return app == EdgeApp })
}

// rehearse restores sets into the scratch project, and removes it.
func (d *Drill) rehearse(ctx context.Context, source *session, selected []*Set) (result *DrillResult, err error) {
	helper, err := source.edge.helper()
	if err != nil {
		return nil, err
	}
	helper.isDrill = true
	dir, err := os.MkdirTemp("", drillDirectory(source.stack.Name))
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }() // it has the secrets of .env
	helper.processors = lowpriority.Processors(countProcessors(ctx, d.Docker))
	scratch, err := d.createProject(ctx, source, dir, helper)
	if err != nil {
		return nil, err
	}
	if d.Keep {
		defer func() {
			source.progress.printLine("the project %s is kept; remove it with: docker compose --project-name %[1]s down --volumes", scratch.stack.Name)
		}()
	} else {
		defer func() { err = errors.Join(err, removeProject(context.WithoutCancel(ctx), d.Docker, scratch.project)) }()
	}
	run := &restoreRun{
		Restore: &Restore{Docker: d.Docker, Logical: d.Logical, Queues: true, StartTimeout: d.StartTimeout},
		session: *scratch, helper: helper, isDrill: true, files: make(map[string]*fileNames),
	}
	run.limiter = newLimiter(source.options.MaxRate)
	result = &DrillResult{Sets: make(map[string]string), Logical: d.Logical, Start: time.Now().UTC()}
	for _, s := range selected {
		result.Sets[s.App] = s.ID
	}
	err = run.drill(ctx, selected, result)
	result.NotRestored = run.notRestored
	result.RecoverySeconds, result.StepSeconds = time.Since(result.Start).Seconds(), scratch.progress.seconds
	if err != nil {
		result.Error = err.Error()
	}
	return result, err
}

// drillSet returns the set that a drill restores: a random one is one of those that all applications have.
func drillSet(sets []*Set, name string) string {
	if name != "random" {
		return name
	}
	appsOfSet := make(map[string]int)
	for _, s := range sets {
		if s.App != EdgeApp {
			appsOfSet[s.ID]++
		}
	}
	whole := slices.DeleteFunc(sortedKeys(appsOfSet), func(id string) bool { return appsOfSet[id] < len(dataApps(sets)) })
	if len(whole) == 0 {
		return "latest"
	}
	return whole[rand.IntN(len(whole))]
}

// drill restores the sets into the scratch project, and starts all of it.
func (r *restoreRun) drill(ctx context.Context, sets []*Set, result *DrillResult) error {
	data := slices.DeleteFunc(slices.Clone(sets), func(s *Set) bool { return s.App == EdgeApp })
	if err := r.planSets(ctx, data); err != nil {
		return err
	}
	if len(r.targets) == 0 {
		return fmt.Errorf("the set %s has no data that can be restored", joinSets(result.Sets))
	}
	for _, t := range r.targets {
		if start := t.manifest.Start; result.RecoveryPoint.IsZero() || start.Before(result.RecoveryPoint) {
			result.RecoveryPoint = start
		}
	}
	if err := r.writeJournal(ctx, r.services()); err != nil {
		return err
	}
	for i := range r.journal.Containers { // all start, but for what is no part of the applications
		r.journal.Containers[i].ShouldStart = !r.isOneShot(r.journal.Containers[i].Service)
	}
	if err := r.stopAndStage(ctx); err != nil {
		return err
	}
	for _, operation := range []string{"swap", "commit"} {
		if err := r.forEachTarget(ctx, operation); err != nil {
			return err
		}
	}
	if err := r.startAndCheck(ctx); err != nil {
		return err
	}
	for _, s := range sets {
		if s.App != EdgeApp {
			continue
		}
		if err := r.checkEdgeSet(ctx, s); err != nil {
			return fmt.Errorf("the set %s of the application %s: %w", s.ID, EdgeApp, err)
		}
	}
	return nil
}

// isOneShot reports whether other services wait for a service to complete.
func (r *restoreRun) isOneShot(name string) bool {
	for _, service := range r.stack.Services {
		if dependency, ok := service.DependsOn[name]; ok && dependency.IsOneShot() {
			return true
		}
	}
	return false
}

// countProcessors returns how many processors the Docker Engine has; 0 if it does not say.
func countProcessors(ctx context.Context, docker Docker) int {
	out, _, err := docker.Run(ctx, "info", "--format", "{{.NCPU}}")
	if err != nil {
		return 0
	}
	n, _ := strconv.Atoi(strings.TrimSpace(out))
	return n
}

// createProject creates the containers and volumes of the scratch project, and removes those of an earlier drill. If the Engine may not use the processors of the helper, neither has
// a limit.
func (d *Drill) createProject(ctx context.Context, source *session, dir string, helper *helper) (*session, error) {
	scratch, err := d.createProjectOn(ctx, source, dir, helper.processors)
	if err != nil && helper.processors != "" && strings.Contains(err.Error(), "CPUs are not available") {
		helper.processors = ""
		scratch, err = d.createProjectOn(ctx, source, dir, "")
	}
	return scratch, err
}

func (d *Drill) createProjectOn(ctx context.Context, source *session, dir, processors string) (*session, error) {
	source.progress.startStep("create %s%s", source.stack.Name, drillSuffix)
	text, _, err := d.Docker.Run(ctx, source.project.Args("config", "--format", "json")...)
	if err != nil {
		return nil, err
	}
	file := filepath.Join(dir, drillFile)
	content, err := drillStack([]byte(text), d.Edge, processors, isDirectory)
	if err != nil {
		return nil, err
	}
	if err := os.WriteFile(file, content, 0o600); err != nil { // it has the secrets of .env
		return nil, err
	}
	scratch := *source
	scratch.project = compose.Project{Name: source.stack.Name + drillSuffix, Directory: dir, Files: []string{file}}
	if scratch.stack, err = compose.ParseStack(string(content)); err != nil {
		return nil, err
	}
	if err := checkIsDrill(ctx, d.Docker, scratch.project.Name); err != nil {
		return nil, err
	}
	if err := removeProject(ctx, d.Docker, scratch.project); err != nil {
		return nil, err
	}
	if _, _, err := d.Docker.Run(ctx, scratch.project.Args("up", "--no-start", "--no-build")...); err != nil {
		return nil, errors.Join(err, removeProject(context.WithoutCancel(ctx), d.Docker, scratch.project))
	}
	source.progress.finishStep("created the project %s", scratch.stack.Name)
	return &scratch, nil
}

// stagedSpace is how much space the data of sets needs beside the present data, in sizes of the sets: the databases add to it when they start.
const stagedSpace = 1.5

// checkSpaceFor returns an error if sets would fill the disk of the Docker Engine. It does not know an Engine on another machine.
func checkSpaceFor(ctx context.Context, docker Docker, sets []*Set) error {
	needed := int64(minFreeSpace)
	for _, s := range sets {
		needed += int64(stagedSpace * float64(s.Size))
	}
	root, _, err := docker.Run(ctx, "info", "--format", "{{.DockerRootDir}}")
	if err != nil {
		return err
	}
	root = strings.TrimSpace(root)
	if free, err := freeSpace(root); err == nil && free < needed {
		return hint.New(fmt.Errorf("the disk of the Docker Engine has %s left, and about %s are needed", FormatBytes(free), FormatBytes(needed)), "make space in "+root)
	}
	return nil
}

// minDrillMemory is how much memory has to be available beside the running applications.
const minDrillMemory = 512 << 20

// checkRoom returns an error if a drill would fill the disk or the memory of the applications.
func (d *Drill) checkRoom(ctx context.Context, sets []*Set) error {
	if err := checkSpaceFor(ctx, d.Docker, sets); err != nil {
		return err
	}
	if available, err := availableMemory(); err == nil && available < minDrillMemory {
		return hint.New(fmt.Errorf("%s of memory are available, and a drill needs %s", FormatBytes(available), FormatBytes(minDrillMemory)), "run the drill when the applications are less busy")
	}
	return nil
}

// joinSets returns sets with their applications.
func joinSets(sets map[string]string) string { return (&journal{Sets: sets}).setNames() }
