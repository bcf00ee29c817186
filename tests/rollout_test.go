package tests

import (
	"os/exec"
	"strconv"
	"strings"
	"testing"

	"github.com/theworklabs/edge/tests/harness"
)

// TestNoRequestOfAnyMethodIsLostInARollout rolls out two replicas whose backends exit at once on SIGTERM. EDGE_TEST_ROLLOUTS is how
// often; default 2.
func TestNoRequestOfAnyMethodIsLostInARollout(t *testing.T) {
	t.Parallel()
	times := harness.Count(t, "EDGE_TEST_ROLLOUTS", 2)
	p := newRolloutProject(t)
	before := p.containerIDs(t, "web")
	p.loadAllMethodsDuring(t, webURL+"/_test", 200, func() {
		for i := range times {
			p.Setenv("ROLLOUT_VERSION", strconv.Itoa(i+2))
			out := p.mustRollout(t, "web", "--sessions", "2s")
			t.Logf("printed:\n%s", out)
		}
	})
	after := p.containerIDs(t, "web")
	harness.CheckReplaced(t, "web", before, after, 2)
	for _, id := range after {
		if env := harness.MustDocker(t, "inspect", "--format", "{{.Config.Env}}", id); !strings.Contains(env, "VERSION="+strconv.Itoa(times+1)) {
			t.Errorf("%s has %s", id, env)
		}
		// The migration has to run before the new containers are created.
		if logs := p.MustCompose(t, "logs", "--no-log-prefix", "migration"); !strings.Contains(logs, "migrating to "+strconv.Itoa(times+1)) {
			t.Errorf("the migration printed %q", logs)
		}
		migrated := harness.MustDocker(t, "inspect", "--format", "{{.State.FinishedAt}}", p.container(t, "migration"))
		if created := harness.MustDocker(t, "inspect", "--format", "{{.Created}}", id); created < migrated {
			t.Errorf("%s was created at %s, before the migration's end at %s", id, created, migrated)
		}
	}
	p.MustCompose(t, "up", "--detach", "web")
	harness.CheckUnchanged(t, "web after `docker compose up`", after, p.containerIDs(t, "web"))
	if out := p.mustRollout(t, "web"); !strings.Contains(out, "nothing to do") {
		t.Errorf("a rollout without a change prints %s", out)
	}
}

// TestBrokenNewVersionKeepsTheOldOneRunning: no request is lost, and the rollout prints what is wrong.
func TestBrokenNewVersionKeepsTheOldOneRunning(t *testing.T) {
	t.Parallel()
	p := newRolloutProject(t)
	before := p.containerIDs(t, "web")
	cases := []struct{ variable, value, reason, line string }{
		{"ROLLOUT_ROLE", "nonsense", "exited with status 1", `app: error: unknown ROLE "nonsense"`},
		{"ROLLOUT_MIGRATION_STATUS", "3", "migration exited with status 3; nothing else was changed", "migrating to 1"},
		{"ROLLOUT_BOOT_DELAY", "1h", "not ready within 3s: ", "is starting"},
	}
	if !harness.IsLong() {
		cases = cases[:2]
	}
	for _, c := range cases {
		env := p.Env
		p.Setenv(c.variable, c.value)
		p.loadAllMethodsDuring(t, webURL+"/_test", 0, func() {
			out, err := p.rolloutCommand(t, "web", "--timeout", "3s", "--sessions", "0s", "--force").CombinedOutput()
			if exit, ok := err.(*exec.ExitError); !ok || exit.ExitCode() != 1 {
				t.Errorf("%s: %v, want exit status 1", c.variable, err)
			}
			for _, want := range []string{"edge: error: web: ", c.reason, c.line} {
				if !strings.Contains(string(out), want) {
					t.Errorf("%s: %q is missing in\n%s", c.variable, want, out)
				}
			}
		})
		p.Env = env
		harness.CheckUnchanged(t, c.variable, before, p.containerIDs(t, "web"))
		p.WaitReady(t, webService, 2)
	}
}

// TestStopFirstRolloutHoldsRequests: the rollout drains the container before it stops it, and the edge holds requests until the new
// one is ready.
func TestStopFirstRolloutHoldsRequests(t *testing.T) {
	t.Parallel()
	p := newRolloutProject(t)
	before := p.containerIDs(t, "store")
	p.loadAllMethodsDuring(t, storeURL+"/_test", 100, func() {
		for i := range 2 {
			p.Setenv("ROLLOUT_VERSION", strconv.Itoa(i+2))
			out := p.mustRollout(t, "store")
			if !strings.Contains(out, "two can't run at once: it writes to volume goods") {
				t.Errorf("printed\n%s", out)
			}
			t.Logf("printed:\n%s", out)
		}
	})
	after := p.containerIDs(t, "store")
	harness.CheckReplaced(t, "store", before, after, 1)
	p.MustCompose(t, "up", "--detach", "store")
	harness.CheckUnchanged(t, "store after `docker compose up`", after, p.containerIDs(t, "store"))
}

// TestRolloutAllCoversRoutedServicesOnly also checks that a service without a route is replaced if it is named.
func TestRolloutAllCoversRoutedServicesOnly(t *testing.T) {
	harness.LongOnly(t, "test-long")
	t.Parallel()
	p := newRolloutProject(t)
	web, store, worker, edge := p.containerIDs(t, "web"), p.containerIDs(t, "store"), p.containerIDs(t, "worker"), p.containerIDs(t, "edge")
	p.Setenv("ROLLOUT_VERSION", "2")
	out := p.mustRollout(t, "--all", "--sessions", "0s")
	t.Logf("printed:\n%s", out)
	harness.CheckReplaced(t, "web", web, p.containerIDs(t, "web"), 2)
	harness.CheckReplaced(t, "store", store, p.containerIDs(t, "store"), 1)
	harness.CheckUnchanged(t, "worker", worker, p.containerIDs(t, "worker"))
	harness.CheckUnchanged(t, "edge", edge, p.containerIDs(t, "edge"))
	if out := p.mustRollout(t, "worker"); !strings.Contains(out, "the edge has no route to it") {
		t.Errorf("the rollout does not say that worker has no route:\n%s", out)
	}
	harness.CheckReplaced(t, "worker", worker, p.containerIDs(t, "worker"), 1)
	if out, err := p.rolloutCommand(t, "edge").CombinedOutput(); err == nil || !strings.Contains(string(out), "is the edge itself, and has no gate") {
		t.Errorf("%v\n%s", err, out)
	}
}

func TestRolloutConflictsAreFoundBeforeAnyChange(t *testing.T) {
	harness.LongOnly(t, "test-long")
	t.Parallel()
	p := newRolloutProject(t)
	containers := func() []string { return append(p.containerIDs(t, "web"), p.containerIDs(t, "migration")...) }
	before := containers()
	checkRefused := func(want string, args ...string) {
		t.Helper()
		out, err := p.rolloutCommand(t, args...).CombinedOutput()
		if err == nil || !strings.Contains(string(out), want) {
			t.Errorf("%v: %v, want %q in\n%s", args, err, want, out)
		}
		harness.CheckUnchanged(t, want, before, containers())
	}
	p.Setenv("ROLLOUT_VERSION", "2")
	checkRefused(`has no service "wbe"`, "wbe")
	checkRefused("is not on this machine, and is not to be pulled", "web", "--file", "rollout/missing.yaml", "--no-pull")

	env := p.Env
	p.Setenv("ROLLOUT_NETWORK_VERSION", "2") // Compose would stop all containers of the network to recreate it
	checkRefused("more has changed in the file than a rollout can bring about", "web")
	p.Env = env
	harness.MustDocker(t, "pause", before[0])
	checkRefused("is paused", "web")
	harness.MustDocker(t, "unpause", before[0])

	p.MustCompose(t, "stop", "--timeout", "1", "edge")
	checkRefused("0 containers of edge run", "web")
	p.MustCompose(t, "start", "edge")
}

// TestShippedStackCanBeRolledOut: the shipped compose.yaml allows two containers of each routed service except corteza-server.
func TestShippedStackCanBeRolledOut(t *testing.T) {
	p := stack(t)
	routed := []string{"bigcapital-server", "bigcapital-webapp", "corteza-docs", "corteza-server"}
	before := make(map[string][]string)
	for _, name := range routed {
		before[name] = p.containerIDs(t, name)
	}
	for _, name := range []string{"bigcapital-server:3000", "bigcapital-webapp:80", "corteza-docs:80", "corteza-server:80"} {
		p.WaitReady(t, name, 1)
	}
	out := p.mustRollout(t, "--all", "--force", "--sessions", "1s")
	t.Logf("printed:\n%s", out)
	if n := strings.Count(out, "two can't run at once"); n != 1 || !strings.Contains(out, "corteza-server: two can't run at once: it writes to volume corteza_data") {
		t.Errorf("%d services cannot run twice, want only corteza-server", n)
	}
	if strings.Count(out, "bigcapital-migration has completed") != 1 {
		t.Error("the migration has not run exactly once")
	}
	for _, name := range routed {
		after := p.containerIDs(t, name)
		harness.CheckReplaced(t, name, before[name], after, 1)
		before[name] = after
	}
	p.MustCompose(t, "up", "--detach")
	for _, name := range routed {
		harness.CheckUnchanged(t, name+" after `docker compose up`", before[name], p.containerIDs(t, name))
	}
}
