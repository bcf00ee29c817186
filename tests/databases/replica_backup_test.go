package databases

import (
	"context"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/theworklabs/edge/internal/replication"
	"github.com/theworklabs/edge/tests/harness"
)

// testBackups takes backups on the replica: under writes, and while the primary is idle, so that the log ends with the dump. Drills restore them.
func (tr *trio) testBackups(t *testing.T, c *client) {
	_, replica := tr.hosts(t)
	repository := filepath.Join(t.TempDir(), "repository")
	replica.edge(t, "backup", "init", "--repository", repository)
	w := c.startWriter(t, "backup")
	defer w.stop(t, c)
	w.expectMore(t, "rows are written")
	before := w.count()
	start := time.Now()
	t.Log(replica.edge(t, "backup", "bigcapital", "corteza"))
	after, took := w.count(), time.Since(start).Seconds()
	t.Logf("%.1f and %.1f rows a second were written meanwhile", float64(after[0]-before[0])/took, float64(after[1]-before[1])/took)
	w.expectMore(t, "rows are written after the backup")
	t.Log(replica.edge(t, "drill"))
	t.Log(replica.edge(t, "drill", "--logical"))
	w.stop(t, c)
	w.expectAll(t, c)

	harness.Eventually(t, "the replica has replayed everything", func() bool { return tr.replays(t, replica) })
	t.Log(replica.edge(t, "backup", "bigcapital", "corteza"))
	t.Log(replica.edge(t, "drill"))
	if out := replica.edge(t, "backup", "list"); strings.Count(out, "bigcapital") < 2 {
		t.Errorf("the list has not both backups:\n%s", out)
	}
	tr.testRestore(t, c)
}

// testRestore puts a set of the replica in the place of the primary's data. It is refused, by both machines, until the replica is stopped, as docs/replication.md says.
func (tr *trio) testRestore(t *testing.T, c *client) {
	primary, replica := tr.hosts(t)
	copyFile(t, filepath.Join(replica.dir, "backup.env"), filepath.Join(primary.dir, "backup.env"))
	restore := []string{"restore", "latest", "bigcapital", "corteza", "--from", replica.Name}
	for m, want := range map[*machine]string{primary: "has a replica, which cannot follow a restore", replica: "is a replica"} {
		if out := m.tryEdge(t, restore...); !strings.Contains(out, want) {
			t.Errorf("the restore is not refused with %q:\n%s", want, out)
		}
	}
	if _, err := c.psql(t.Context(), "INSERT INTO numbers VALUES ('after the backup')"); err != nil {
		t.Fatal(err)
	}
	if _, err := c.sql(t.Context(), "INSERT INTO bigcapital_system.numbers VALUES ('after the backup')"); err != nil {
		t.Fatal(err)
	}
	t.Log(tr.first.edge(t, "replica", "forget"))
	t.Log(primary.edge(t, restore...))
	tr.first.MustCompose(t, "up", "--detach", "replication")
	t.Log(tr.first.edge(t, "replica", "rejoin"))
	tr.eventuallyMode(t, replication.Synchronous)
	for i, query := range []func(context.Context, string) (string, error){c.sql, c.psql} {
		table := []string{"bigcapital_system.numbers", "numbers"}[i]
		if out, err := query(t.Context(), "SELECT count(*) FROM "+table+" WHERE name = 'after the backup'"); err != nil || out != "0" {
			t.Errorf("after the restore, %s has %q rows of after the backup, %v", table, out, err)
		}
	}
	w := c.startWriter(t, "restored")
	defer w.stop(t, c)
	w.expectMore(t, "rows are written after the restore")
	w.stop(t, c)
	w.expectAll(t, c)
}

// replays reports whether the replica's PostgreSQL replays its log, and has replayed what it received.
func (tr *trio) replays(t *testing.T, replica *machine) bool {
	t.Helper()
	out, err := replica.Compose(t.Context(), "exec", "-T", "corteza-db", "sh", "-c",
		`psql --username "$POSTGRES_USER" --tuples-only --no-align --command "SELECT pg_get_wal_replay_pause_state() = 'not paused' AND pg_last_wal_replay_lsn() >= pg_last_wal_receive_lsn()" "$POSTGRES_DB"`)
	return err == nil && strings.TrimSpace(out) == "t"
}
