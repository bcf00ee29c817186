package backup

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"time"

	"github.com/theworklabs/edge/internal/compose"
	"github.com/theworklabs/edge/internal/dblog"
	"github.com/theworklabs/edge/internal/hint"
)

// plan finds the set, and what it replaces. There is nothing left to do if a restore that was just finished was of the same set.
func (r *restoreRun) plan(ctx context.Context, finished *journal) error {
	if finished != nil && finished.From != r.From {
		// What was asked for may only be meant to finish it, as hints say, and would restore the older data of this project.
		r.progress.printLine("note: nothing else is restored: run the command again, if you want what it says")
		return nil
	}
	sets, err := listSets(ctx, r.repository, r.setsOf())
	if err != nil {
		return err
	}
	if len(r.Apps) == 0 {
		sets = r.presentSets(sets)
	}
	sets = completeSets(sets)
	if !r.At.IsZero() {
		r.latest = latestTimes(sets)
		if sets, err = r.setsBefore(sets); err != nil {
			return err
		}
	}
	apps := r.Apps
	if r.isNewHost {
		apps = appsOf(sets, r.Set)
	}
	selected, err := selectSets(sets, r.Set, apps)
	if err != nil {
		return err
	}
	if finished != nil && finished.From == r.From && finished.Queues == r.Queues && finished.At.Equal(r.At) {
		selected = slices.DeleteFunc(selected, func(s *Set) bool { return finished.Sets[s.App] == s.ID })
	}
	r.sets, r.targets = nil, nil // of the finished one
	if err := r.planSets(ctx, selected); err != nil {
		return err
	}
	if r.From != "" && len(selected) > 0 && len(r.targets) == 0 {
		return hint.New(fmt.Errorf("this project has none of the services of %s", r.setsOf()), "its services need the names that they have there")
	}
	return nil
}

// planSets finds what sets replace.
func (r *restoreRun) planSets(ctx context.Context, selected []*Set) error {
	r.sets = selected
	var short error // of the database whose logs end first
	var reached time.Time
	for _, set := range selected {
		m, err := loadManifest(ctx, r.repository, set)
		if err != nil {
			return err
		}
		targets, err := r.findTargets(ctx, m)
		if err != nil {
			return err
		}
		for _, t := range targets {
			err := r.findLogs(ctx, t)
			end := &dblog.EndError{}
			if !errors.As(err, &end) {
				if err != nil {
					return err
				}
			} else if short == nil || end.Reached.Before(reached) {
				short, reached = err, end.Reached
			}
		}
		r.targets = append(r.targets, targets...)
	}
	if short == nil {
		return nil
	}
	for _, set := range selected {
		if !r.latest[set.App].After(reached) {
			return short
		}
	}
	return hint.New(short, "restore it without --at: the latest sets are of a later time than the logs reach")
}

// presentSets returns the complete sets of applications that the project still has. The latest set of each application is kept for ever, also of
// one that was removed.
func (s *session) presentSets(sets []*Set) []*Set {
	var missing []string
	present := slices.DeleteFunc(completeSets(sets), func(set *Set) bool {
		isMissing := !slices.Contains(s.plan.names(), set.App)
		if isMissing && !slices.Contains(missing, set.App) {
			missing = append(missing, set.App)
		}
		return isMissing
	})
	if len(missing) > 0 {
		s.progress.printLine("note: the project no longer has %s, whose sets are left aside", strings.Join(missing, ", "))
	}
	return present
}

// appsOf returns the applications of a set, with [EdgeApp].
func appsOf(sets []*Set, id string) (apps []string) {
	for _, s := range sets {
		if (id == "latest" || strings.HasPrefix(s.ID, id)) && !slices.Contains(apps, s.App) {
			apps = append(apps, s.App)
		}
	}
	return apps
}

// latestTimes returns the time of the latest set of each application.
func latestTimes(sets []*Set) map[string]time.Time {
	latest := make(map[string]time.Time)
	for _, s := range sets { // the oldest first
		latest[s.App] = s.Time
	}
	return latest
}

// setsBefore returns the sets of times before r.At. Each application that is to be restored must have one: without, it would be left as it is.
func (r *restoreRun) setsBefore(sets []*Set) ([]*Set, error) {
	before := slices.DeleteFunc(slices.Clone(sets), func(s *Set) bool { return s.Time.After(r.At) })
	found := appsOf(before, r.Set)
	var missing []string
	for _, app := range appsOf(sets, r.Set) {
		isWanted := slices.Contains(r.Apps, app) || len(r.Apps) == 0 && (r.isNewHost || app != EdgeApp)
		if isWanted && !slices.Contains(found, app) {
			missing = append(missing, app)
		}
	}
	if len(missing) == 0 {
		return before, nil
	}
	first := sets[slices.IndexFunc(sets, func(s *Set) bool { return s.App == missing[0] })] // the oldest are first
	next := fmt.Sprintf("a time from %s on; `edge backup list` has the sets, and without --at, one is restored as it is", first.Time.Local().Format(time.DateTime))
	return nil, hint.New(fmt.Errorf("there is no set of %s of a time before %s", strings.Join(missing, " and "), r.At.Local().Format(time.DateTime)), next)
}

// selectSets returns one set for each application.
func selectSets(sets []*Set, id string, apps []string) ([]*Set, error) {
	latest := make(map[string]*Set)
	for _, s := range sets { // the oldest first
		if id == "latest" || strings.HasPrefix(s.ID, id) {
			if other := latest[s.App]; other != nil && id != "latest" && other.ID != s.ID {
				return nil, hint.New(fmt.Errorf("%s is the beginning of several sets: %s and %s", id, other.ID, s.ID), "name more of the ID")
			}
			latest[s.App] = s
		}
	}
	if len(latest) == 0 {
		return nil, hint.New(fmt.Errorf("there is no set %s", id), "edge backup list")
	}
	if len(apps) == 0 {
		apps = slices.DeleteFunc(slices.Sorted(maps.Keys(latest)), func(app string) bool { return app == EdgeApp })
	}
	var selected []*Set
	for _, app := range apps {
		if latest[app] == nil {
			return nil, hint.New(fmt.Errorf("the set %s has no application %q", id, app), "edge backup list")
		}
		selected = append(selected, latest[app])
	}
	return selected, nil
}

// findTargets returns what a set replaces, and refuses data that the machine's programs cannot read.
func (r *restoreRun) findTargets(ctx context.Context, m *Manifest) (targets []*target, err error) {
	for _, p := range m.Parts {
		if p.Kind == Mongo {
			r.progress.printLine("warning: %s is not restored: load it with mongorestore --archive --gzip --drop", p.Name)
			r.notRestored = append(r.notRestored, p.Name)
		}
		if p.Path == "" {
			continue
		}
		t := &target{app: m.App, service: p.Service, kind: p.Kind, directory: p.Path, manifest: m}
		if p.Kind == Files {
			t.parts = []Part{p}
		} else {
			t.parts = slices.DeleteFunc(slices.Clone(m.Parts), func(other Part) bool { return other.Service != p.Service })
		}
		if i := slices.IndexFunc(m.Databases, func(d Database) bool { return d.Service == p.Service }); i >= 0 && p.Kind != Files {
			t.database = &m.Databases[i]
		}
		all, err := compose.Containers(ctx, r.Docker, r.stack.Name, p.Service)
		if err != nil {
			return nil, err
		}
		if len(all) == 0 && r.From != "" && r.stack.Services[p.Service] == nil {
			r.progress.printLine("note: %s is left out: this project has no service %s", p.Name, p.Service)
			continue
		}
		if len(all) == 0 {
			return nil, hint.New(fmt.Errorf("%s has no container, and so no volume to restore to", p.Service), "docker compose up --no-start")
		}
		t.container = all[0]
		if err := t.findMount(); err != nil {
			return nil, err
		}
		if err := r.refuseReplicated(ctx, t); err != nil {
			return nil, err
		}
		if err := r.checkCompatible(ctx, t); err != nil {
			return nil, err
		}
		targets = append(targets, t)
	}
	return targets, checkNestedVolumes(targets)
}

// checkNestedVolumes refuses an archive of files from a time when a volume was not yet mounted inside of another one.
func checkNestedVolumes(targets []*target) error {
	for _, t := range targets {
		for _, m := range t.container.Mounts {
			hasTarget := slices.ContainsFunc(targets, func(other *target) bool { return other.service == t.service && other.directory == m.Destination })
			if t.kind == Files && m.RW && m.Type == "volume" && m.Destination != t.directory && isInside(m.Destination, t.directory) && !hasTarget {
				return hint.New(fmt.Errorf("%s has the volume %s inside of %s, and the set has none for it", t.service, m.Destination, t.directory), "remove that volume from the compose file for the restore")
			}
		}
	}
	return nil
}

// checkCompatible refuses a physical copy of another architecture or version.
func (r *restoreRun) checkCompatible(ctx context.Context, t *target) error {
	if t.database == nil || r.Logical {
		return nil
	}
	const next = "restore the dump, with --logical"
	if t.manifest.Architecture != runtime.GOARCH {
		return hint.New(fmt.Errorf("the copy of %s was made on %s, and this machine is %s", t.service, t.manifest.Architecture, runtime.GOARCH), next)
	}
	if t.container.Image == t.manifest.Images[t.service] {
		return nil
	}
	text, err := r.helper.serverVersion(ctx, t)
	if err != nil {
		return err
	}
	if want, got := seriesOf(t.kind, t.database.Version), seriesOf(t.kind, text); want != got {
		return hint.New(fmt.Errorf("the copy of %s is of version %s, and its image has %s", t.service, want, got), next)
	}
	return nil
}

var versionNumber = regexp.MustCompile(`(\d+)\.(\d+)`)

// seriesOf returns the part of a server's version that its files depend on: 10.11 of MariaDB, 15 of PostgreSQL. It takes what the server says
// of itself, and what its program prints.
func seriesOf(kind Kind, text string) string {
	number := versionNumber.FindStringSubmatch(text)
	switch {
	case number == nil:
		return text
	case kind == Postgres:
		return number[1]
	}
	return number[1] + "." + number[2]
}

// stopOrder returns the services that use the data of others: these, those that depend on them, and those of the same applications by their
// labels, but for the edge, which has the maintenance page. Who depends on another stops before it.
func stopOrder(stack *compose.Stack, isTarget map[string]bool, edgeService string) []string {
	apps := make(map[string]bool)
	for name := range isTarget {
		if service := stack.Services[name]; service != nil {
			apps[appOf(service)] = true
		}
	}
	selected := maps.Clone(isTarget)
	for hasChanged := true; hasChanged; {
		hasChanged = false
		for name, service := range stack.Services {
			if selected[name] || name == edgeService && !isTarget[name] {
				continue
			}
			isOfApp := service.Labels[AppLabel] != "" && apps[service.Labels[AppLabel]]
			dependsOnSelected := false
			for dependency := range service.DependsOn {
				dependsOnSelected = dependsOnSelected || selected[dependency]
			}
			if isOfApp || dependsOnSelected {
				selected[name], hasChanged = true, true
			}
		}
	}
	var order []string
	var visit func(name string)
	visit = func(name string) {
		if slices.Contains(order, name) {
			return
		}
		for _, other := range stack.ServiceNames() {
			if _, depends := stack.Services[other].DependsOn[name]; depends && selected[other] {
				visit(other)
			}
		}
		order = append(order, name)
	}
	for _, wantsTarget := range []bool{false, true} {
		for _, name := range slices.Sorted(maps.Keys(selected)) {
			if isTarget[name] == wantsTarget {
				visit(name)
			}
		}
	}
	return order
}

// appOf returns the application that a service belongs to.
func appOf(service *compose.Service) string {
	if app := service.Labels[AppLabel]; app != "" {
		return app
	}
	return service.Name
}
