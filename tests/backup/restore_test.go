package backup

import (
	"context"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/theworklabs/edge/tests/harness"
)

// redis returns what redis-cli prints.
func (s *testStack) redis(t *testing.T, service string, args ...string) string {
	t.Helper()
	return strings.TrimSpace(s.project.MustCompose(t, append([]string{"exec", "-T", service, "redis-cli"}, args...)...))
}

// TestQueuesAreRestoredOnlyIfAskedFor, from a Redis that has a snapshot, and from one that has an append-only file.
func TestQueuesAreRestoredOnlyIfAskedFor(t *testing.T) {
	harness.LongOnly(t, "backups")
	services := []string{"shop-redis", "shop-cache"}
	for _, service := range services {
		stack.redis(t, service, "SET", "job", "of the backup")
	}
	stack.mustEdge(t, "backup", "bigcapital")
	for _, c := range []struct{ flag, want string }{{"--queues=false", ""}, {"--queues", "of the backup"}} {
		for _, service := range services {
			stack.redis(t, service, "SET", "job", "later")
		}
		stack.mustEdge(t, "restore", "latest", "bigcapital", c.flag)
		for _, service := range services {
			if got := stack.redis(t, service, "GET", "job"); got != c.want {
				t.Errorf("%s with %s: got %q, want %q", service, c.flag, got, c.want)
			}
		}
	}
}

// TestADumpHasAllDatabasesWithTheirOwners: also those that no application of the stack uses.
func TestADumpHasAllDatabasesWithTheirOwners(t *testing.T) {
	harness.LongOnly(t, "backups")
	defer func() {
		_ = stack.psql(t.Context(), "DROP DATABASE IF EXISTS reports;")
		_ = stack.psql(t.Context(), "\\c postgres\nDROP TABLE IF EXISTS notes;")
		_, _ = stack.edge(t.Context(), "backup", "corteza") // it says that a database is missing; the next one does not
	}()
	if err := stack.psql(t.Context(), `CREATE ROLE reporter LOGIN PASSWORD 'x'; CREATE ROLE auditor;
CREATE DATABASE reports OWNER reporter;
REVOKE CONNECT ON DATABASE reports FROM PUBLIC; GRANT CONNECT ON DATABASE reports TO auditor; ALTER DATABASE reports SET work_mem = '7MB';
\c reports
SET ROLE reporter; CREATE SCHEMA s; CREATE TABLE s.sales (n int); INSERT INTO s.sales VALUES (7); GRANT SELECT ON s.sales TO auditor;
\c postgres
CREATE TABLE notes (n int); INSERT INTO notes VALUES (8);`); err != nil {
		t.Fatal(err)
	}
	const question = `SELECT pg_get_userbyid(datdba), has_database_privilege('auditor', 'reports', 'CONNECT'), (SELECT setconfig FROM pg_db_role_setting WHERE setdatabase = d.oid) FROM pg_database d WHERE datname = 'reports'`
	before := stack.query(t, "crm-db", question)
	stack.mustEdge(t, "backup", "corteza")
	if err := stack.psql(t.Context(), "DROP DATABASE reports;"); err != nil {
		t.Fatal(err)
	}
	stack.mustEdge(t, "restore", "latest", "corteza", "--logical")
	if got := stack.query(t, "crm-db", question); got != before || got != "reporter|t|{work_mem=7MB}" {
		t.Errorf("the database is %q, and was %q", got, before)
	}
	for database, c := range map[string][2]string{
		"reports":  {"SELECT n, has_table_privilege('auditor', 's.sales', 'SELECT'), tableowner FROM s.sales, pg_tables WHERE tablename = 'sales'", "7|t|reporter"},
		"postgres": {"SELECT n FROM notes", "8"},
	} {
		out := strings.TrimSpace(stack.project.MustCompose(t, "exec", "-T", "crm-db", "psql", "--username", "corteza", "--dbname", database, "--tuples-only", "--no-align", "--command", c[0]))
		if out != c[1] {
			t.Errorf("%s has %q, want %q", database, out, c[1])
		}
	}
}

// TestADumpBringsNoOtherAccounts than those that were stored: those of a new database have no password. And one of a host by name, which a server that
// resolves none ignores, would end each later backup.
func TestADumpBringsNoOtherAccounts(t *testing.T) {
	harness.LongOnly(t, "backups")
	const accounts = "SELECT User, Host, JSON_VALUE(Priv, '$.authentication_string') FROM mysql.global_priv ORDER BY 1, 2"
	before := stack.query(t, "shop-db", accounts)
	stack.mustEdge(t, "backup", "bigcapital")
	stack.mustEdge(t, "restore", "latest", "bigcapital", "--logical")
	if got := stack.query(t, "shop-db", accounts); got != before {
		t.Errorf("the accounts are\n%s\nwant\n%s", got, before)
	}
	stack.mustEdge(t, "backup", "bigcapital")

	if err := stack.mariadb(t.Context(), "INSERT INTO mysql.global_priv VALUES ('office.example', 'somebody', '{}'); FLUSH PRIVILEGES"); err != nil {
		t.Fatal(err)
	}
	stack.expectStatus(t, 1, []string{"backup", "bigcapital"}, "edge: hint: the server ignores this account", "DROP USER 'somebody'@'office.example'")
	if err := stack.mariadb(t.Context(), "DROP USER 'somebody'@'office.example'"); err != nil {
		t.Fatal(err)
	}
	stack.mustEdge(t, "backup", "bigcapital")
}

// TestAServiceOfAProfileIsStoredIfItWasStarted, without the profile on the command line.
func TestAServiceOfAProfileIsStoredIfItWasStarted(t *testing.T) {
	harness.LongOnly(t, "backups")
	stack.expectStatus(t, 1, []string{"backup", "by-hand"}, `no application "by-hand"`)
	stack.project.MustCompose(t, "--profile", "by-hand", "up", "--detach", "by-hand")
	defer stack.project.MustCompose(t, "--profile", "by-hand", "rm", "--stop", "--force", "by-hand")
	stack.project.MustCompose(t, "--profile", "by-hand", "exec", "-T", "by-hand", "sh", "-c", "echo old >/data/file")
	stack.mustEdge(t, "backup", "by-hand")
	stack.project.MustCompose(t, "--profile", "by-hand", "exec", "-T", "by-hand", "sh", "-c", "echo new >/data/file")
	stack.mustEdge(t, "restore", "latest", "by-hand")
	if got := stack.project.MustCompose(t, "--profile", "by-hand", "exec", "-T", "by-hand", "cat", "/data/file"); got != "old\n" {
		t.Errorf("got %q", got)
	}
}

// killIn kills a restore in one of the phases.
func (s *testStack) killIn(t *testing.T, phases string, args ...string) {
	t.Helper()
	for range 20 {
		cmd := s.command(t.Context(), append([]string{"restore"}, args...)...)
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		exited := make(chan error, 1)
		go func() { exited <- cmd.Wait() }()
		for isRunning := true; isRunning; {
			select {
			case <-exited:
				isRunning = false
			case <-time.After(5 * time.Millisecond):
				if phase := s.journalPhase(t); phase == "" || !strings.Contains(phases, phase) {
					continue
				}
				_ = cmd.Process.Kill()
				<-exited
				killAll(t, "restic", s.repository)
				return
			}
		}
	}
	t.Fatalf("no restore was seen in %s", phases)
}

// TestAnInterruptedRestoreIsUndoneWithoutTheRepository, also if the containers have been recreated since then.
func TestAnInterruptedRestoreIsUndoneWithoutTheRepository(t *testing.T) {
	harness.LongOnly(t, "backups")
	stack.mustEdge(t, "backup", "corteza")
	if err := stack.psql(t.Context(), "INSERT INTO compose_record (module_id, value) VALUES (1, 'after the backup')"); err != nil {
		t.Fatal(err)
	}
	before := stack.fingerprint(t)
	stack.killIn(t, "staging", "latest", "corteza")
	stack.project.MustCompose(t, "up", "--detach", "--force-recreate", "--wait", "crm-db", "crm")
	t.Setenv("EDGE_BACKUP_REPOSITORY", "/nowhere/at/all")
	stack.expectStatus(t, 3, []string{"restore", "latest", "corteza"}, "was interrupted (staging)", "the data is as it was before the restore", "edge: hint: `edge backup init` creates it")
	stack.awaitStack(t)
	if got := stack.fingerprint(t); got != before {
		t.Errorf("the data is\n%s\nwant\n%s", got, before)
	}
	stack.expectNothingStaged(t)
}

// TestAfterAnInterruptedRestoreTheNewlyNamedSetIsRestored, although the containers of the interrupted one have been removed.
func TestAfterAnInterruptedRestoreTheNewlyNamedSetIsRestored(t *testing.T) {
	harness.LongOnly(t, "backups")
	wanted := stack.fingerprint(t)
	stack.mustEdge(t, "backup", "corteza")
	first := stack.latest(t)
	if err := stack.psql(t.Context(), "INSERT INTO compose_record (module_id, value) VALUES (1, 'after the first')"); err != nil {
		t.Fatal(err)
	}
	stack.mustEdge(t, "backup", "corteza")
	second := stack.latest(t)
	stack.killIn(t, "swapping checking", second, "corteza")
	stack.project.MustCompose(t, "rm", "--stop", "--force", "crm-db", "crm")
	out := stack.mustEdge(t, "restore", first, "corteza")
	for _, text := range []string{"was interrupted", "had been removed", "restored " + second, "restored " + first} {
		if !strings.Contains(out, text) {
			t.Errorf("printed\n%s\nwant %q", out, text)
		}
	}
	stack.awaitStack(t)
	if got := stack.fingerprint(t); got != wanted {
		t.Errorf("the data is\n%s\nwant\n%s", got, wanted)
	}
	stack.expectNothingStaged(t)
}

// TestMaintenanceOfAnOperatorGoesOn after a restore.
func TestMaintenanceOfAnOperatorGoesOn(t *testing.T) {
	harness.LongOnly(t, "backups")
	stack.mustEdge(t, "backup", "corteza")
	stack.project.MustCompose(t, "exec", "-T", "edge", "edge", "maintenance", "on", "crm", "--message", "Back at noon.")
	defer stack.project.MustCompose(t, "exec", "-T", "edge", "edge", "maintenance", "off", "crm")
	stack.mustEdge(t, "restore", "latest", "corteza")
	if status, _, body := stack.get(t, "/"); status != http.StatusServiceUnavailable || !strings.Contains(body, "Back at noon.") {
		t.Errorf("got %d: %s", status, body)
	}
}

// TestTheEdgeIsToldOfEarlyFailures: of a backup that did not begin, and of a second repository that cannot be reached.
func TestTheEdgeIsToldOfEarlyFailures(t *testing.T) {
	harness.LongOnly(t, "backups")
	expectMetric := func(line string) {
		t.Helper()
		harness.Eventually(t, "the metrics have "+line, func() bool {
			_, _, body := stack.get(t, "/metrics")
			return strings.Contains(body, line+"\n")
		})
	}
	labels := `{application="corteza",project="` + projectName + `"} `
	t.Run("no repository", func(t *testing.T) {
		t.Setenv("EDGE_BACKUP_REPOSITORY", "/nowhere/at/all")
		stack.expectStatus(t, 3, []string{"backup"}, "edge: hint: ")
		expectMetric("edge_backup_success" + labels + "0")
		stack.expectStatus(t, 3, []string{"drill"}, "edge: hint: ")
		expectMetric(`edge_drill_success{project="` + projectName + `"} 0`)
	})
	t.Run("no second repository", func(t *testing.T) {
		t.Setenv("EDGE_BACKUP_COPY_TO", "/nowhere/at/all")
		stack.expectStatus(t, 3, []string{"backup", "corteza"}, "corteza: set ", "copy the set")
		expectMetric("edge_backup_success" + labels + "1")
		expectMetric(`edge_backup_copy_success{project="` + projectName + `"} 0`)
	})
}

// TestAKeptDrillLeavesNoSecrets in a file, and goes by the command that it prints.
func TestAKeptDrillLeavesNoSecrets(t *testing.T) {
	harness.LongOnly(t, "backups")
	stack.mustEdge(t, "backup")
	tmp := t.TempDir()
	t.Setenv("TMPDIR", tmp)
	t.Cleanup(func() {
		_, _ = harness.RunDocker(context.Background(), "compose", "--project-name", projectName+"-drill", "down", "--volumes") // unless the test has
	})
	out := stack.mustEdge(t, "drill", "--keep")
	// Its applications can write: commits of the copies wait for no replica.
	for service, script := range map[string]string{
		"shop-db": `MYSQL_PWD=$MARIADB_PASSWORD timeout 10 mariadb --user "$MARIADB_USER" --execute 'CREATE TABLE written (n INT); INSERT INTO written VALUES (1)' bigcapital_system`,
		"crm-db":  `timeout 10 psql --username corteza --command 'CREATE TABLE written (n INT)' corteza`,
	} {
		harness.MustDocker(t, "exec", projectName+"-drill-"+service+"-1", "sh", "-c", script)
	}
	if left, err := filepath.Glob(filepath.Join(tmp, "edge-drill-*")); err != nil || len(left) > 0 {
		t.Errorf("left: %v, %v", left, err)
	}
	_, command, found := strings.Cut(out, "remove it with: docker ")
	if !found {
		t.Fatalf("printed\n%s", out)
	}
	command, _, _ = strings.Cut(command, "\n")
	t.Chdir(tmp) // where there is no compose file
	harness.MustDocker(t, strings.Fields(command)...)
	for _, kind := range []string{"container", "volume", "network"} {
		args := []string{kind, "ls", "--quiet", "--filter", "label=com.docker.compose.project=" + projectName + "-drill"}
		if kind == "container" {
			args = append(args, "--all")
		}
		if left := harness.MustDocker(t, args...); left != "" {
			t.Errorf("a %s is left: %s", kind, left)
		}
	}
}
