package databases

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/theworklabs/edge/internal/replication"
	"github.com/theworklabs/edge/tests/harness"
)

// replicated is a trio whose replica has everything, and a table to write to.
func replicated(t *testing.T) (*trio, *client) {
	t.Helper()
	tr := newTrio(t)
	c := tr.startClient(t)
	for _, create := range []func() (string, error){
		func() (string, error) {
			return c.sql(t.Context(), "CREATE TABLE IF NOT EXISTS bigcapital_system.numbers (name VARCHAR(40) PRIMARY KEY)")
		},
		func() (string, error) {
			return c.psql(t.Context(), "CREATE TABLE IF NOT EXISTS numbers (name text PRIMARY KEY)")
		},
	} {
		harness.EventuallyWithin(t, time.Minute, "the primary takes writes", func() bool { _, err := create(); return err == nil })
	}
	t.Log(tr.first.edge(t, "replica", "rejoin"))
	return tr, c
}

// eventuallyMode waits until both databases have a mode.
func (tr *trio) eventuallyMode(t *testing.T, mode replication.Mode) {
	t.Helper()
	harness.EventuallyWithin(t, 90*time.Second, fmt.Sprintf("the mode is %s", mode), func() bool {
		s := tr.state(t)
		return s.Databases["mariadb"].Mode == mode && s.Databases["postgres"].Mode == mode
	})
}

// fault is a way to lose a replica: what is done to its services, and how that ends.
type fault struct {
	name     string
	begin    string
	end      string
	services []string
}

var lostReplicas = []fault{
	{"it is cut off", "pause", "unpause", []string{"databases", "peer"}},
	{"it is killed", "kill", "start", []string{"bigcapital-mysql", "corteza-db"}},
	{"it is frozen", "pause", "unpause", []string{"bigcapital-mysql", "corteza-db"}},
}

// testNobodyLooks stops what watches the databases, and does what the runbook of ReplicationUnknown says.
func (tr *trio) testNobodyLooks(t *testing.T) {
	status := func() string {
		out, err := tr.first.Compose(t.Context(), "exec", "-T", "edge", "edge", "status")
		if err != nil {
			return err.Error()
		}
		return out
	}
	const problem = "\nreplica: nothing is known since "
	if out := status(); !strings.Contains(out, "replica on ") || strings.Contains(out, problem) {
		t.Fatalf("the status is\n%s", out)
	}
	tr.first.MustCompose(t, "stop", "replication")
	harness.EventuallyWithin(t, 2*time.Minute, "edge status says that nobody looks", func() bool { return strings.Contains(status(), problem) })
	t.Log(status())
	tr.expectAlert(t, "ReplicationUnknown")
	tr.first.MustCompose(t, "up", "--detach", "replication")
	harness.EventuallyWithin(t, time.Minute, "somebody looks again", func() bool {
		out := status()
		return strings.Contains(out, "replica on ") && !strings.Contains(out, problem)
	})
	tr.expectNoAlert(t)
}

// testPrimaryIsDown kills the primaries, and starts them again where they were: nothing is lost, and they take no writes until replication has seen them.
func (tr *trio) testPrimaryIsDown(t *testing.T, c *client) {
	primary, _ := tr.hosts(t)
	w := c.startWriter(t, "down")
	defer w.stop(t, c)
	w.expectMore(t, "rows are written")
	primary.MustCompose(t, "kill", "bigcapital-mysql", "corteza-db")
	tr.expectAlert(t, "PrimaryDown")
	tr.first.MustCompose(t, "stop", "replication")
	primary.MustCompose(t, "start", "bigcapital-mysql", "corteza-db")
	c.wait(t, "the databases respond", true)
	tr.expectReadOnlyErrors(t, c)
	tr.first.MustCompose(t, "start", "replication")
	w.expectMore(t, "rows are written again")
	tr.expectNoAlert(t)
	w.stop(t, c)
	w.expectAll(t, c)
}

// expectReadOnlyErrors fails the test if a database takes writes.
func (tr *trio) expectReadOnlyErrors(t *testing.T, c *client) {
	t.Helper()
	for i, write := range []func(context.Context, string) (string, error){c.sql, c.psql} {
		table, want := []string{"bigcapital_system.numbers", "numbers"}[i], []string{"--read-only option", "read-only transaction"}[i]
		if out, err := write(t.Context(), "INSERT INTO "+table+" VALUES ('unseen')"); err == nil || !strings.Contains(out, want) {
			t.Errorf("%s takes a write before replication has seen it: %s, %v", table, out, err)
		}
	}
}

// testLostReplica loses the replica with both policies. Nothing that is acknowledged is lost, and nothing happens silently.
func (tr *trio) testLostReplica(t *testing.T, c *client) {
	_, replica := tr.hosts(t)
	w := c.startWriter(t, "lost")
	defer w.stop(t, c)
	w.expectMore(t, "rows are written")
	for _, f := range lostReplicas {
		t.Run(f.name+", and commits wait", func(t *testing.T) {
			replica.MustCompose(t, append([]string{f.begin}, f.services...)...)
			time.Sleep(15 * time.Second)
			tr.expectWaiting(t, w)
			if s := tr.state(t); s.Databases["mariadb"].Mode != replication.Synchronous || s.Databases["postgres"].Mode != replication.Synchronous {
				t.Errorf("the primary is alone")
			}
			replica.MustCompose(t, append([]string{f.end}, f.services...)...)
			w.expectMore(t, "rows are written again")
			tr.expectNoAlert(t)
		})
	}
	defer tr.setPolicy(t, replication.Stop)
	tr.setPolicy(t, replication.Continue)
	for _, f := range lostReplicas {
		t.Run(f.name+", and the primary goes on", func(t *testing.T) {
			before := tr.state(t).Databases
			replica.MustCompose(t, append([]string{f.begin}, f.services...)...)
			tr.eventuallyMode(t, replication.Alone)
			for name, d := range tr.state(t).Databases { // the alert PrimaryWasAlone, however short it was
				if d.TimesAlone <= before[name].TimesAlone {
					t.Errorf("%s was not alone", name)
				}
			}
			if out := tr.first.MustCompose(t, "logs", "--since", "30m", "replication"); !strings.Contains(out, "has not confirmed anything for") { // what its runbook looks at
				t.Errorf("the log does not say why:\n%.2000s", out)
			}
			w.expectMore(t, "rows are written by the primary alone")
			tr.expectAlert(t, "PrimaryWasAlone", "PrimaryAlone")
			tr.expectAlert(t, "PrimaryAlone")
			t.Log(tr.first.tryEdge(t, "replica", "status"))
			replica.MustCompose(t, append([]string{f.end}, f.services...)...)
			tr.eventuallyMode(t, replication.Synchronous)
			w.expectMore(t, "rows are written with the replica")
			tr.expectNoAlert(t)
		})
	}
	w.stop(t, c)
	w.expectAll(t, c)
}

// expectWaiting fails the test if rows are acknowledged, or if nobody says that commits wait for the replica.
func (tr *trio) expectWaiting(t *testing.T, w *writer) {
	t.Helper()
	before := w.count()
	tr.expectAlert(t, "CommitsWaitForTheReplica", "CommitsSlow")
	time.Sleep(5 * time.Second)
	if after := w.count(); after != before {
		t.Errorf("commits do not wait: %v, then %v", before, after)
	}
	out := tr.first.tryEdge(t, "replica", "status")
	if !strings.Contains(out, "the replica needs attention") {
		t.Errorf("the status says nothing:\n%s", out)
	}
	t.Log(out)
}

// setPolicy says what happens without the replica.
func (tr *trio) setPolicy(t *testing.T, p replication.Policy) {
	t.Helper()
	appendLine(t, filepath.Join(tr.first.dir, ".env"), "DATABASES_WITHOUT_REPLICA="+string(p)) // the last one counts
	tr.first.MustCompose(t, "up", "--detach", "--wait", "replication")
}

// testRefusedPromotions: a promotion that could lose something, or lead to two primaries, leaves everything as it was.
func (tr *trio) testRefusedPromotions(t *testing.T, c *client) {
	primary, replica := tr.hosts(t)
	env := filepath.Join(tr.first.dir, ".env")
	before := string(readFile(t, env))
	refused := func(t *testing.T, want string, args ...string) {
		t.Helper()
		out := tr.first.tryEdge(t, append([]string{"replica", "promote", "--timeout", "40s"}, args...)...)
		if !strings.Contains(out, want) {
			t.Errorf("the promotion is not refused with %q:\n%s", want, out)
		}
	}
	t.Run("the primary's machine does not answer", func(t *testing.T) {
		appendLine(t, env, "DATABASES_DOCKER=unix:///nonexistent/docker.sock")
		refused(t, "--primary-is-off")
		c.wait(t, "the databases respond", true)
	})
	if err := os.WriteFile(env, []byte(before), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Run("the replica does not run", func(t *testing.T) {
		replica.MustCompose(t, "stop", "corteza-db")
		refused(t, "the replica must run")
		c.wait(t, "the databases respond", true)
		replica.MustCompose(t, "start", "corteza-db")
		tr.eventuallyMode(t, replication.Synchronous)
	})
	t.Run("the primary's machine is not off", func(t *testing.T) {
		appendLine(t, env, "DATABASES_DOCKER=unix:///nonexistent/docker.sock")
		refused(t, "that machine is not off", "--primary-is-off")
		if err := os.WriteFile(env, []byte(before), 0o600); err != nil {
			t.Fatal(err)
		}
	})
	t.Run("the replica was started again after the primary's end", func(t *testing.T) {
		primary.MustCompose(t, "kill", "bigcapital-mysql")
		replica.MustCompose(t, "restart", "bigcapital-mysql")
		harness.Eventually(t, "the replica responds", func() bool {
			_, err := replica.Compose(t.Context(), "exec", "-T", "bigcapital-mysql", "sh", "-c", `MYSQL_PWD="$MARIADB_ROOT_PASSWORD" mariadb -e "SELECT 1"`)
			return err == nil
		})
		refused(t, "was started again")
		primary.MustCompose(t, "start", "bigcapital-mysql")
		c.wait(t, "the databases respond", true)
		tr.eventuallyMode(t, replication.Synchronous)
	})
	t.Run("the replica lacks something", func(t *testing.T) {
		tr.setPolicy(t, replication.Continue)
		replica.MustCompose(t, "stop", "peer")
		tr.eventuallyMode(t, replication.Alone)
		if out, err := c.sql(t.Context(), "INSERT INTO bigcapital_system.numbers VALUES ('alone')"); err != nil {
			t.Fatal(out, err)
		}
		primary.MustCompose(t, "kill", "bigcapital-mysql")
		refused(t, "--may-lose")
		primary.MustCompose(t, "start", "bigcapital-mysql")
		replica.MustCompose(t, "start", "peer")
		c.wait(t, "the databases respond", true)
		tr.eventuallyMode(t, replication.Synchronous)
		if got := strings.TrimPrefix(string(readFile(t, env)), before); got != "DATABASES_WITHOUT_REPLICA=continue\n" {
			t.Errorf(".env has changed: %s", got)
		}
		if _, err := os.Stat(filepath.Join(tr.first.dir, ".edge-promotion")); err == nil {
			t.Errorf("the promotion is not finished")
		}
	})
	t.Run("a loss is accepted", func(t *testing.T) {
		replica.MustCompose(t, "stop", "peer")
		tr.eventuallyMode(t, replication.Alone)
		if out, err := c.sql(t.Context(), "INSERT INTO bigcapital_system.numbers VALUES ('given up')"); err != nil {
			t.Fatal(out, err)
		}
		primary.MustCompose(t, "kill", "bigcapital-mysql", "corteza-db") // a PostgreSQL that responds would be asked
		out := tr.first.edge(t, "replica", "promote", "--may-lose", "1h")
		t.Log(out)
		if !strings.Contains(out, "may have commits that") {
			t.Error("it does not say what is given up")
		}
		if out, err := c.sql(t.Context(), "SELECT count(*) FROM bigcapital_system.numbers WHERE name = 'given up'"); err != nil || out != "0" {
			t.Errorf("the new primary has %q (%v)", out, err)
		}
		replica.MustCompose(t, "start", "peer")
		t.Log(tr.first.edge(t, "replica", "rejoin"))
		tr.eventuallyMode(t, replication.Synchronous)
	})
	t.Run("a promotion is given up", func(t *testing.T) {
		now, _ := tr.hosts(t)
		cmd, out := tr.startOperation(t, "promote")
		done := make(chan error, 1)
		go func() { done <- cmd.Wait() }()
		for isClosed := false; !isClosed; {
			select {
			case line := <-out.lines:
				isClosed = strings.HasPrefix(line, "closed the applications' way")
			case err := <-done:
				t.Fatalf("%v\n%s", err, out)
			}
		}
		killTree(cmd.Process.Pid)
		<-done
		c.wait(t, "the databases are closed", false)
		t.Log(tr.first.edge(t, "replica", "promote", "--abort"))
		c.wait(t, "the databases respond", true)
		tr.eventuallyMode(t, replication.Synchronous)
		if after, _ := tr.hosts(t); after != now {
			t.Error("another machine is the primary")
		}
	})
	t.Run("a primary that works", func(t *testing.T) {
		t.Log(tr.first.edge(t, "replica", "promote"))
		if out, err := c.sql(t.Context(), "SELECT name FROM bigcapital_system.numbers WHERE name = 'alone'"); err != nil || out != "alone" {
			t.Errorf("the new primary has %q (%v)", out, err)
		}
		refused(t, "the replica must run") // what was the primary is stopped
		c.wait(t, "the databases respond", true)
		t.Log(tr.first.edge(t, "replica", "rejoin"))
		tr.setPolicy(t, replication.Stop)
	})
}

// testWithoutReplica gives the replica up for good, as docs/replication.md says. The primary takes writes, also after it has restarted.
func (tr *trio) testWithoutReplica(t *testing.T, c *client) {
	primary, replica := tr.hosts(t)
	tr.setPolicy(t, replication.Continue)
	replica.MustCompose(t, "stop")
	tr.eventuallyMode(t, replication.Alone)
	without := func(m *harness.Project, file string) {
		m.Files = slices.DeleteFunc(slices.Clone(m.Files), func(name string) bool { return filepath.Base(name) == file })
	}
	primary.MustCompose(t, "exec", "-T", "corteza-db", "sh", "-c", `psql --username "$POSTGRES_USER" "$POSTGRES_DB" --command "SELECT pg_drop_replication_slot('replica')"`)
	without(primary.Project, "compose.replica.yaml")
	primary.MustCompose(t, "up", "--detach", "--wait", "--remove-orphans")
	without(tr.first.Project, "compose.replicated.yaml")
	tr.first.MustCompose(t, "up", "--detach", "--no-deps", "--remove-orphans", "edge")
	w := c.startWriter(t, "without")
	w.expectMore(t, "rows are written")
	primary.MustCompose(t, "restart", "bigcapital-mysql", "corteza-db")
	w.expectMore(t, "rows are written after a restart")
	w.stop(t, c)
	w.expectAll(t, c)
}
