package backup

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/theworklabs/edge/internal/hint"
)

// startAndCheck starts the databases with the new content, checks it, and starts the applications.
func (r *restoreRun) startAndCheck(ctx context.Context) error {
	r.progress.startStep("start the databases")
	var databases []string
	for _, c := range slices.Backward(r.journal.Containers) {
		if c.IsDatabase && !slices.Contains(databases, c.Service) {
			databases = append(databases, c.Service)
		}
	}
	if err := r.startDatabases(ctx, databases); err != nil {
		return err
	}
	if r.isDrill {
		for _, t := range r.targets {
			if t.database == nil {
				continue
			}
			if err := makeStandalone(ctx, &container{t.container, r.Docker, t.service}, t.kind); err != nil {
				return fmt.Errorf("make %s a server without replicas: %w", t.service, err)
			}
		}
	}
	r.progress.finishStep("started the databases")
	for _, t := range r.targets {
		if t.database == nil {
			continue
		}
		r.progress.startStep("%s: check %s", t.app, t.service)
		if err := r.check(ctx, t); err != nil {
			return err
		}
		r.progress.finishStep("%s: checked %s", t.app, t.service)
	}
	var apps []string
	for _, c := range r.journal.Containers {
		if !c.IsDatabase && c.ShouldStart && !slices.Contains(apps, c.Service) {
			apps = append(apps, c.Service)
		}
	}
	if len(apps) == 0 {
		return nil
	}
	r.progress.startStep("start %s", strings.Join(apps, ", "))
	// Compose starts them in their order, after services such as migrations have completed.
	if _, _, err := r.Docker.Run(ctx, r.project.Args(append([]string{"up", "--detach", "--no-recreate", "--no-build"}, apps...)...)...); err != nil {
		return err
	}
	for _, c := range r.journal.Containers {
		if !c.IsDatabase && c.ShouldStart {
			if err := r.awaitHealthy(ctx, c); err != nil {
				return err
			}
		}
	}
	r.progress.finishStep("started %s", strings.Join(apps, ", "))
	return nil
}

// startDatabases starts the services, and waits until they are healthy. A restore starts all of them at the same time; a drill one after the other, since Docker itself needs as much of the
// processors for the start of a container as for hundreds of requests, and has the priority of everything else.
func (r *restoreRun) startDatabases(ctx context.Context, services []string) error {
	groups := [][]string{services}
	if r.isDrill || len(services) == 0 {
		groups = slices.Collect(slices.Chunk(services, 1))
	}
	for _, group := range groups {
		// Compose copies configs whose content is in the compose file, and secrets from variables, into a container when it starts it for the first time.
		if _, _, err := r.Docker.Run(ctx, r.project.Args(append([]string{"up", "--detach", "--no-deps", "--no-recreate", "--no-build"}, group...)...)...); err != nil {
			return err
		}
	}
	for _, c := range r.journal.Containers {
		if c.IsDatabase {
			if err := r.awaitHealthy(ctx, c); err != nil {
				return err
			}
		}
	}
	return nil
}

// makeStandalone makes a drill's copy of a primary, or of a replica, a server of its own: its commits wait for no replica, since it has none, and it is not
// read-only. Only the data decides otherwise, and what the service's command sets.
func makeStandalone(ctx context.Context, c *container, kind Kind) error {
	script := mariadbLogin + `
run() { ` + mariadbClient + ` --batch --skip-column-names --execute "$1"; }
for name in read_only rpl_semi_sync_master_enabled; do
	case $(run "SHOW GLOBAL VARIABLES LIKE '$name'" | cut -f 2) in '' | OFF) ;; *) run "SET GLOBAL $name = OFF" ;; esac
done`
	if kind == Postgres {
		script = postgresLogin + psql + ` --command "ALTER SYSTEM SET synchronous_standby_names = ''" --command 'ALTER SYSTEM RESET default_transaction_read_only' --command 'SELECT pg_reload_conf()' >/dev/null`
	}
	_, err := c.run(ctx, nil, io.Discard, script)
	return err
}

// These say how often a starting container is looked at. Each look is a process.
const (
	healthPoll      = 250 * time.Millisecond
	drillHealthPoll = time.Second
)

// awaitHealthy waits until a container is healthy; one without a health check has to run.
func (r *restoreRun) awaitHealthy(ctx context.Context, c journalContainer) error {
	timeout := r.StartTimeout
	if timeout == 0 {
		timeout = defaultStartTimeout
	}
	deadline := time.Now().Add(timeout)
	poll := healthPoll
	if r.isDrill {
		poll = drillHealthPoll
	}
	for {
		out, _, err := r.Docker.Run(ctx, "inspect", "--format", "{{.State.Status}} {{if .State.Health}}{{.State.Health.Status}}{{else}}healthy{{end}} {{.State.ExitCode}}", c.Name)
		if err != nil {
			return err
		}
		switch state := strings.TrimSpace(out); {
		case strings.HasPrefix(state, "running healthy"):
			return nil
		case strings.HasPrefix(state, "exited") && strings.HasSuffix(state, " 0") && r.mayBeJob(c):
			return nil
		case strings.HasPrefix(state, "exited"), strings.HasPrefix(state, "dead"):
			return r.unhealthyError(ctx, c, "has exited")
		case time.Now().After(deadline):
			return r.unhealthyError(ctx, c, fmt.Sprintf("is not healthy after %v", timeout))
		}
		select {
		case <-time.After(poll):
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// mayBeJob reports whether a container may be one that does something, and exits, such as one that loads the first data. Whether it runs otherwise is not known where it was created
// for the restore.
func (r *restoreRun) mayBeJob(c journalContainer) bool {
	return (r.isDrill || r.isNewHost) && (c.Policy == "no" || strings.HasPrefix(c.Policy, "on-failure"))
}

func (r *restoreRun) unhealthyError(ctx context.Context, c journalContainer, what string) error {
	_, logs, err := r.Docker.Run(ctx, "logs", "--tail", "3", c.Name)
	last := ""
	if err == nil && strings.TrimSpace(logs) != "" {
		last = ": " + strings.Join(strings.Split(strings.TrimSpace(logs), "\n"), "; ")
	}
	return hint.New(fmt.Errorf("%s %s with the restored data%s", c.Service, what, last),
		"its variables in .env may have other passwords than the restored database; the set of the application edge has the .env of that time")
}

// check compares the restored content with the manifest.
func (r *restoreRun) check(ctx context.Context, t *target) error {
	c := &container{t.container, r.Docker, t.service}
	want := *t.database
	want.SameInstant = (want.SameInstant || r.Logical) && r.At.IsZero() // the counts are those of the dump
	var problems []string
	var err error
	switch t.kind {
	case MariaDB:
		problems, err = checkMariaDB(ctx, c, &want)
	case Postgres:
		problems, err = checkPostgres(ctx, c, &want, r.files[t.app])
	}
	if err != nil {
		return fmt.Errorf("check %s: %w", t.service, err)
	}
	if r.isDrill {
		damaged, note, err := findDamage(ctx, c, t.kind)
		if err != nil {
			return fmt.Errorf("check the tables of %s: %w", t.service, err)
		}
		if note != "" {
			r.progress.printLine("note: %s: %s", t.service, note)
		}
		problems = append(problems, damaged...)
	}
	if !r.At.IsZero() { // it is later than what the manifest counts
		for _, p := range problems {
			r.progress.printLine("note: %s: since the set, %s", t.service, p)
		}
		return nil
	}
	if len(problems) > 0 {
		return hint.New(fmt.Errorf("%s is not what was backed up: %s", t.service, joinProblems(problems)), otherSet)
	}
	return nil
}

// otherSet is what to do about a set that has not what its manifest says.
const otherSet = "restore another set, which `edge backup list` has; the one that has passed a drill is the best guess"

// maxProblems is how many problems a message has.
const maxProblems = 5

func joinProblems(problems []string) string {
	if n := len(problems); n > maxProblems {
		problems = append(slices.Clone(problems[:maxProblems]), fmt.Sprintf("and %d more", n-maxProblems))
	}
	return strings.Join(problems, "; ")
}

// checkMariaDB compares a running server with the manifest.
func checkMariaDB(ctx context.Context, c *container, want *Database) (problems []string, err error) {
	session, err := c.openClient(ctx, mariadbLogin+mariadbClient+" --batch --skip-column-names", "SELECT '"+endLine+"';")
	if err != nil {
		return nil, err
	}
	got, err := countMariaDB(session, c.service, mariadbSchemas)
	if err := errors.Join(err, session.close()); err != nil {
		return nil, err
	}
	return compareDatabases(want, got), nil
}

// checkPostgres compares a running server with the manifest, and its attachments with the files that were restored; these may be nil.
func checkPostgres(ctx context.Context, c *container, want *Database, files *fileNames) (problems []string, err error) {
	session, err := c.openClient(ctx, postgresLogin+psql, `\echo `+endLine)
	if err != nil {
		return nil, err
	}
	got := &Database{Tables: make(map[string]int64)}
	err = countPostgres(session, got)
	if err := errors.Join(err, session.close()); err != nil {
		return nil, err
	}
	if files != nil {
		got.Inconsistencies[missingAttachments] = files.countMissing(got.attachments)
	}
	return compareDatabases(want, got), nil
}

// compareDatabases returns how a database differs from the manifest. If its copy is of another instant than the counts, these may differ.
func compareDatabases(want, got *Database) (problems []string) {
	for _, name := range sortedKeys(want.Tables) {
		rows, exists := got.Tables[name]
		switch {
		case !exists:
			problems = append(problems, fmt.Sprintf("the table %s is missing", name))
		case want.SameInstant && rows != want.Tables[name]:
			problems = append(problems, fmt.Sprintf("%s has %d rows, not %d", name, rows, want.Tables[name]))
		}
	}
	if want.SameInstant {
		for _, name := range sortedKeys(got.Tables) {
			if _, isKnown := want.Tables[name]; !isKnown {
				problems = append(problems, fmt.Sprintf("the table %s is new", name))
			}
		}
		for _, pair := range []struct{ want, got map[string]string }{{want.Sums, got.Sums}, {want.Migrations, got.Migrations}} {
			for _, name := range sortedKeys(pair.want) {
				if pair.got[name] != pair.want[name] {
					problems = append(problems, fmt.Sprintf("%s has %s, not %s", name, pair.got[name], pair.want[name]))
				}
			}
		}
	}
	for _, name := range sortedKeys(got.Inconsistencies) {
		if want.Checks < inconsistencyChecks && strings.Contains(name, " refers to no row of ") && (want.Kind == Postgres || strings.Contains(name, ", ")) {
			continue // the set was stored before there was this check
		}
		if n := got.Inconsistencies[name]; n > want.Inconsistencies[name] {
			problems = append(problems, fmt.Sprintf("%s: %d rows, not %d", name, n, want.Inconsistencies[name]))
		}
	}
	return problems
}
