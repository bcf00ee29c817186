package backup

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/theworklabs/edge/internal/compose"
	"github.com/theworklabs/edge/internal/hint"
)

// Restore replaces the data of a project's applications by that of a set. A Restore runs once.
//
// The new data is staged beside the old one, in the same volumes, and takes its place by renames. The old data stays until the new one has
// passed its checks, and the applications have started with it. A restore that was interrupted is undone or continued by the next one.
type Restore struct {
	Docker  Docker
	Project compose.Project
	// Set is the ID of a set or its beginning, or "latest".
	Set string
	// Apps are the applications; if there are none, all of the set are, but for [EdgeApp].
	Apps []string
	// From is the project whose sets are restored; "" is the project itself. Data of services that this project does not have is left out: they run on
	// another machine.
	From string
	// Edge is the Compose service that runs the edge. Its image has the program that works on volumes.
	Edge string
	// Logical restores databases from their dumps instead of their physical copies: slower, and for every version and architecture.
	Logical bool
	// At is the time to which databases are rolled forward: they get what was committed before. If it is zero, they get what the set has. Files and
	// queues are those of the set.
	At time.Time
	// Queues restores Redis, too. Otherwise it starts empty, because old jobs would be done again.
	Queues bool
	// Out gets a line for each step.
	Out io.Writer
	// IsTerminal says that Out is a terminal, on which a line can be overwritten while a step lasts.
	IsTerminal bool
	// StartTimeout is how long databases and applications may take to become healthy. 0 means 5 minutes.
	StartTimeout time.Duration

	override  *Settings // instead of those of backup.env
	isNewHost bool      // all applications are restored and started, also those that do not run
}

// setsOf returns the project whose sets are restored.
func (r *restoreRun) setsOf() string { return cmp.Or(r.From, r.stack.Name) }

// restoreRun is a restore that is under way.
type restoreRun struct {
	*Restore
	session
	latest  map[string]time.Time // of a restore to a time: when the latest set of each application was stored
	helper  *helper
	sets    []*Set
	targets []*target
	files   map[string]*fileNames // application → names of the files that were restored; none if the restore continues an interrupted one
	journal *journal
	isDrill bool // in a scratch project, which no edge serves

	notRestored []string // parts that have to be loaded by hand
}

// defaultStartTimeout is longer than the start of an application that migrates its database.
const defaultStartTimeout = 5 * time.Minute

// Run restores the set. First it finishes a restore that was interrupted.
func (r *Restore) Run(ctx context.Context) error {
	run := &restoreRun{Restore: r, files: make(map[string]*fileNames)}
	run.progress, run.settings = &progress{out: r.Out, isTerminal: r.IsTerminal}, r.override
	if err := run.openProject(ctx, r.Docker, r.Project, r.Edge); err != nil {
		return err
	}
	if r.From == run.stack.Name {
		r.From = ""
	}
	unlock, err := lockProject(run.stack.Name)
	if err != nil {
		return err
	}
	defer unlock()
	if run.helper, err = run.edge.helper(); err != nil {
		return err
	}
	finished, err := run.finishInterrupted(ctx)
	if err != nil {
		return err
	}
	if run.repository == nil { // neither to undo a restore nor to complete one is it needed
		if err := run.findRepository(ctx); err != nil {
			return err
		}
	}
	if err := run.storeLogs(ctx); err != nil {
		return err
	}
	if err := run.plan(ctx, finished); err != nil || len(run.sets) == 0 {
		return err
	}
	if err := checkSpaceFor(ctx, r.Docker, run.sets); err != nil {
		return err
	}
	return run.execute(ctx)
}

// execute stops what uses the data, replaces it, and starts everything again.
func (r *restoreRun) execute(ctx context.Context) error {
	services := r.services()
	unlock, err := compose.LockServices(ctx, r.Docker, r.stack.Name, services) // a rollout would start containers in the middle
	if err != nil {
		return err
	}
	defer unlock()
	if err := r.writeJournal(ctx, services); err != nil {
		return err
	}
	if err := r.stopAndStage(ctx); err != nil {
		return errors.Join(err, r.undo(context.WithoutCancel(ctx)))
	}
	return r.swapAndCheck(ctx)
}

// services returns the services that the restore stops, in that order.
func (r *restoreRun) services() []string {
	isTarget := make(map[string]bool)
	for _, t := range r.targets {
		isTarget[t.service] = true
	}
	return stopOrder(r.stack, isTarget, cmp.Or(r.Edge, EdgeApp))
}

// writeJournal notes what the restore is going to stop, in that order, and to replace.
func (r *restoreRun) writeJournal(ctx context.Context, services []string) error {
	j := &journal{Sets: make(map[string]string), Start: time.Now().UTC(), From: r.From, Queues: r.Queues, Logical: r.Logical, At: r.At, file: filepath.Join(r.project.Directory, journalFile)}
	for _, s := range r.sets {
		j.Sets[s.App] = s.ID
	}
	isDatabase := make(map[string]bool)
	for _, t := range r.targets {
		isDatabase[t.service] = isDatabase[t.service] || t.kind != Files
		j.Targets = append(j.Targets, t.journalTarget())
	}
	for _, service := range services {
		all, err := compose.Containers(ctx, r.Docker, r.stack.Name, service)
		if err != nil {
			return err
		}
		for _, c := range all {
			j.Containers = append(j.Containers, journalContainer{
				Name: c.Name, Service: service, Policy: restartPolicy(c), WasRunning: c.IsUp(),
				ShouldStart: c.IsUp() || r.isNewHost && !r.isOneShot(service), IsDatabase: isDatabase[service],
			})
		}
	}
	r.journal = j
	return j.enter(phaseStaging)
}

// restartPolicy returns a container's restart policy, as `docker update --restart` takes it.
func restartPolicy(c compose.Container) string {
	policy := c.HostConfig.RestartPolicy
	switch {
	case policy.Name == "":
		return "no"
	case policy.Name == "on-failure" && policy.MaximumRetryCount > 0:
		return "on-failure:" + strconv.Itoa(policy.MaximumRetryCount)
	}
	return policy.Name
}

// stopAndStage stops the containers, and writes the new content beside the old one.
func (r *restoreRun) stopAndStage(ctx context.Context) error {
	r.progress.startStep("stop")
	r.closeServices(ctx)
	if err := r.journal.enter(phaseStaging); err != nil {
		return err
	}
	if err := r.stopContainers(ctx); err != nil {
		return err
	}
	r.progress.finishStep("stopped %s", strings.Join(r.serviceNames(), ", "))
	return r.stageAll(ctx)
}

func (r *restoreRun) serviceNames() (names []string) {
	for _, c := range r.journal.Containers {
		if !slices.Contains(names, c.Service) {
			names = append(names, c.Service)
		}
	}
	return names
}

// stopContainers stops the containers, and keeps Docker from starting them when the machine restarts.
func (r *restoreRun) stopContainers(ctx context.Context) error {
	for _, c := range r.journal.Containers {
		if _, _, err := r.Docker.Run(ctx, "update", "--restart", "no", c.Name); err != nil {
			return err
		}
		if _, _, err := r.Docker.Run(ctx, "stop", c.Name); err != nil {
			return err
		}
	}
	return nil
}

// swapAndCheck puts the new content in its place, and checks it. It continues a restore that was interrupted in this phase.
func (r *restoreRun) swapAndCheck(ctx context.Context) error {
	if err := r.stopContainers(ctx); err != nil { // that somebody has started meanwhile
		return errors.Join(err, r.undo(context.WithoutCancel(ctx)))
	}
	if err := r.journal.enter(phaseSwapping); err != nil {
		return errors.Join(err, r.undo(context.WithoutCancel(ctx)))
	}
	if err := r.forEachTarget(ctx, "swap"); err != nil {
		return errors.Join(err, r.undo(context.WithoutCancel(ctx)))
	}
	if err := r.journal.enter(phaseChecking); err != nil {
		return errors.Join(err, r.undo(context.WithoutCancel(ctx)))
	}
	if err := r.startAndCheck(ctx); err != nil {
		return errors.Join(err, r.undo(context.WithoutCancel(ctx)))
	}
	return r.commit(context.WithoutCancel(ctx)) // everything runs: what is left is to clean up
}

// commit removes the old content. There is no way back.
func (r *restoreRun) commit(ctx context.Context) error {
	if err := r.journal.enter(phaseCommitting); err != nil {
		return err
	}
	if err := r.forEachTarget(ctx, "commit"); err != nil {
		return err
	}
	if err := r.restorePolicies(ctx); err != nil {
		return err
	}
	r.openServices(ctx)
	state := ""
	if !r.journal.At.IsZero() {
		state = ", and the databases rolled forward to " + r.journal.At.Local().Format(time.DateTime)
	}
	r.progress.printLine("restored %s%s in %.0fs", r.journal.setNames(), state, time.Since(r.journal.Start).Seconds())
	r.progress.printLine("next: edge backup (until then, changes cannot be restored with --at)")
	return r.journal.remove()
}

// undo puts the old content in its place again, and starts what ran before.
func (r *restoreRun) undo(ctx context.Context) error {
	if err := r.journal.enter(phaseUndoing); err != nil { // such as a full disk, which the undoing frees
		r.progress.printLine("warning: %v", err)
	}
	r.progress.startStep("undo")
	if err := r.stopContainers(ctx); err != nil {
		return err
	}
	if err := r.forEachTarget(ctx, "undo"); err != nil {
		return err
	}
	if err := r.restorePolicies(ctx); err != nil {
		return err
	}
	for _, c := range slices.Backward(r.journal.Containers) {
		if c.WasRunning {
			if _, _, err := r.Docker.Run(ctx, "start", c.Name); err != nil {
				return err
			}
		}
	}
	r.openServices(ctx)
	r.progress.finishStep("the data is as it was before the restore")
	return r.journal.remove()
}

func (r *restoreRun) restorePolicies(ctx context.Context) error {
	for _, c := range r.journal.Containers {
		if _, _, err := r.Docker.Run(ctx, "update", "--restart", c.Policy, c.Name); err != nil {
			return err
		}
	}
	return nil
}

// forEachTarget runs an operation of package volume on all targets.
func (r *restoreRun) forEachTarget(ctx context.Context, operation string) error {
	for _, t := range r.journal.Targets {
		if _, err := r.helper.volume(ctx, t, nil, operation); err != nil {
			return err
		}
	}
	return nil
}

// finishInterrupted undoes or completes a restore that was interrupted. It returns the journal of one that it has completed.
func (r *restoreRun) finishInterrupted(ctx context.Context) (finished *journal, err error) {
	j, err := readJournal(r.project.Directory)
	if err != nil || j == nil {
		return nil, err
	}
	r.journal = j
	r.progress.printLine("the restore of %s on %s was interrupted (%s)", j.setNames(), j.Start.Local().Format(time.DateTime), j.Phase)
	if err := r.recreateContainers(ctx); err != nil {
		return nil, err
	}
	switch j.Phase {
	case phaseStaging, phaseUndoing:
		return nil, r.undo(ctx)
	case phaseCommitting: // the checks have passed; a power cut may have stopped everything since then
		if err := r.startAndCheck(ctx); err != nil {
			return nil, err
		}
		return j, r.commit(ctx)
	}
	// The checks are those of the interrupted restore.
	whole := *r.Restore
	whole.From, whole.Queues, whole.Logical, whole.At = j.From, j.Queues, j.Logical, j.At
	continued := *r
	continued.Restore = &whole
	if err := continued.prepare(ctx); err != nil {
		if ctx.Err() != nil {
			return nil, err
		}
		r.progress.printLine("it cannot be completed, and is undone: %v", err)
		return nil, r.undo(ctx)
	}
	r.session = continued.session
	if err := continued.swapAndCheck(ctx); err != nil {
		return nil, err
	}
	return j, nil
}

// prepare finds what the checks of an interrupted restore need, whose new content is staged.
func (r *restoreRun) prepare(ctx context.Context) error {
	if err := r.findRepository(ctx); err != nil {
		return err
	}
	sets, err := listSets(ctx, r.repository, r.setsOf())
	if err != nil {
		return err
	}
	sets = slices.DeleteFunc(completeSets(sets), func(s *Set) bool { return r.journal.Sets[s.App] != s.ID })
	if len(sets) != len(r.journal.Sets) {
		return hint.New(fmt.Errorf("the repository no longer has all of %s, with which the data is checked", r.journal.setNames()), "restore the repository from its copy, and run the restore again")
	}
	return r.planSets(ctx, sets)
}

// recreateContainers creates the containers of the journal that have been removed meanwhile, such as by `docker compose down`, and forgets those
// that the compose file no longer has.
func (r *restoreRun) recreateContainers(ctx context.Context) error {
	exists := make(map[string]bool)
	find := func() (missing []string, err error) {
		for _, service := range r.serviceNames() {
			all, err := compose.Containers(ctx, r.Docker, r.stack.Name, service)
			if err != nil {
				return nil, err
			}
			for _, c := range all {
				exists[c.Name] = true
			}
			if len(all) == 0 && r.stack.Services[service] != nil {
				missing = append(missing, service)
			}
		}
		return missing, nil
	}
	missing, err := find()
	if err != nil {
		return err
	}
	if len(missing) > 0 {
		r.progress.printLine("%s had been removed: creating the containers again", strings.Join(missing, ", "))
		if _, _, err := r.Docker.Run(ctx, r.project.Args(append([]string{"up", "--no-start", "--no-recreate", "--no-build"}, missing...)...)...); err != nil {
			return err
		}
		if _, err := find(); err != nil {
			return err
		}
	}
	r.journal.Containers = slices.DeleteFunc(r.journal.Containers, func(c journalContainer) bool { return !exists[c.Name] })
	return nil
}
