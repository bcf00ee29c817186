package backup

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/theworklabs/edge/tests/harness"
)

// kill starts a command of the edge, kills it after some time, and reports whether it was still running. In one of two cases, restic is killed at once, too,
// as by a power cut; otherwise it sees the end of its input, and may finish.
func (s *testStack) kill(t *testing.T, after time.Duration, args ...string) bool {
	t.Helper()
	return s.killCommand(t, after, s.command(t.Context(), args...))
}

// killCommand does what kill does.
func (s *testStack) killCommand(t *testing.T, after time.Duration, cmd *exec.Cmd) bool {
	t.Helper()
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	exited := make(chan error, 1)
	go func() { exited <- cmd.Wait() }()
	select {
	case err := <-exited:
		if err != nil {
			t.Fatalf("%s: %v", strings.Join(cmd.Args, " "), err)
		}
		return false
	case <-time.After(after):
	}
	_ = cmd.Process.Kill()
	<-exited
	if rand.IntN(2) == 0 {
		killAll(t, "restic", s.repository) // the programs that it ran have groups of their own
	}
	return true
}

// killRestic starts a command of the edge, kills the restic that it runs after some time, and reports whether the command has failed by that.
func (s *testStack) killRestic(t *testing.T, after time.Duration, args ...string) bool {
	t.Helper()
	cmd := s.command(t.Context(), args...)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	time.Sleep(after)
	killAll(t, "restic", s.repository)
	return cmd.Wait() != nil
}

// killAll kills the processes of a program that have a text in their environment.
func killAll(t *testing.T, program, text string) {
	t.Helper()
	for _, dir := range mustGlob(t, "/proc/[0-9]*") {
		name, err := os.ReadFile(filepath.Join(dir, "comm"))
		if err != nil || strings.TrimSpace(string(name)) != program {
			continue
		}
		environment, err := os.ReadFile(filepath.Join(dir, "environ"))
		if err != nil || !strings.Contains(string(environment), text) {
			continue
		}
		var pid int
		if _, err := fmt.Sscan(filepath.Base(dir), &pid); err == nil {
			_ = syscall.Kill(pid, syscall.SIGKILL)
		}
	}
}

func mustGlob(t *testing.T, pattern string) []string {
	t.Helper()
	names, err := filepath.Glob(pattern)
	if err != nil {
		t.Fatal(err)
	}
	return names
}

// restic runs restic on the repository with the recovery key.
func (s *testStack) restic(t *testing.T, args ...string) (string, error) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "restic", args...)
	cmd.Env = append(os.Environ(), "RESTIC_REPOSITORY="+s.repository, "RESTIC_PASSWORD="+s.recovery)
	out, err := cmd.Output()
	return string(out), err
}

// fingerprint returns what the data is: a checksum of each table of MariaDB, all rows of the CRM's records, and the files.
func (s *testStack) fingerprint(t *testing.T) string {
	t.Helper()
	tables := s.query(t, "shop-db", "SELECT GROUP_CONCAT(TABLE_SCHEMA, '.', TABLE_NAME ORDER BY TABLE_SCHEMA, TABLE_NAME) FROM information_schema.TABLES WHERE TABLE_SCHEMA LIKE 'bigcapital%'")
	return strings.Join([]string{
		s.query(t, "shop-db", "CHECKSUM TABLE "+tables),
		s.query(t, "crm-db", "SELECT count(*), max(id), md5(string_agg(value, '' ORDER BY id)) FROM compose_record"),
		s.project.MustCompose(t, "exec", "-T", "crm", "sh", "-c", "find /data -type f | sort | xargs sha256sum"),
	}, "\n")
}

// awaitStack waits until all services are healthy.
func (s *testStack) awaitStack(t *testing.T) {
	t.Helper()
	s.project.MustCompose(t, "up", "--detach", "--wait", "--no-recreate")
}

// journalPhase returns the phase in the journal of a restore; "" if there is none.
func (s *testStack) journalPhase(t *testing.T) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(s.dir, ".edge-restore.json"))
	if errors.Is(err, os.ErrNotExist) {
		return ""
	}
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(text), `"phase": "`)
	phase, _, _ := strings.Cut(rest, `"`)
	return phase
}

func (s *testStack) expectNothingStaged(t *testing.T) {
	t.Helper()
	for service, dir := range map[string]string{"shop-db": "/var/lib/mysql", "crm-db": "/var/lib/postgresql/data", "crm": "/data", "shop-redis": "/data"} {
		if out := s.project.MustCompose(t, "exec", "-T", service, "sh", "-c", "ls -a "+dir); strings.Contains(out, ".edge-restore") {
			t.Errorf("%s: something is left in %s:\n%s", service, dir, out)
		}
	}
	for _, service := range []string{"shop-db", "crm-db"} {
		ids, err := s.project.Containers(t.Context(), service)
		if err != nil || len(ids) != 1 {
			t.Fatalf("containers of %s: %v, %v", service, ids, err)
		}
		if policy := harness.MustDocker(t, "inspect", "--format", "{{.HostConfig.RestartPolicy.Name}}", ids[0]); policy != "unless-stopped" {
			t.Errorf("%s has the restart policy %q", service, policy)
		}
	}
}

// TestARestoreThatFailsItsChecksIsUndone: the application does not become healthy with the restored data.
func TestARestoreThatFailsItsChecksIsUndone(t *testing.T) {
	harness.LongOnly(t, "backups")
	stack.mustEdge(t, "backup", "corteza")
	if err := stack.psql(t.Context(), "INSERT INTO compose_record (module_id, value) VALUES (1, 'after the backup')"); err != nil {
		t.Fatal(err)
	}
	stack.project.MustCompose(t, "exec", "-T", "crm", "touch", "/data/healthy-only-with-this")
	before := stack.fingerprint(t)
	stack.setHealthFile(t, "/data/healthy-only-with-this")
	defer stack.setHealthFile(t, "/")
	out, err := stack.edge(t.Context(), "restore", "latest", "corteza", "--timeout", "15s")
	if err == nil || !strings.Contains(out, "crm is not healthy after 15s with the restored data") || !strings.Contains(out, "the data is as it was before the restore") {
		t.Errorf("got %v\n%s", err, out)
	}
	stack.awaitStack(t)
	if got := stack.fingerprint(t); got != before {
		t.Errorf("the data is\n%s\nwant\n%s", got, before)
	}
	stack.expectNothingStaged(t)
}

// setHealthFile makes the health of the service crm depend on a file: its container is recreated.
func (s *testStack) setHealthFile(t *testing.T, name string) {
	t.Helper()
	file := filepath.Join(s.dir, "compose.yaml")
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	_, rest, found := strings.Cut(string(text), "test -e ")
	old, _, _ := strings.Cut(rest, `"`)
	if !found {
		t.Fatal("the compose file has no health check of crm")
	}
	if err := os.WriteFile(file, []byte(strings.Replace(string(text), "test -e "+old+`"`, "test -e "+name+`"`, 1)), 0o644); err != nil {
		t.Fatal(err)
	}
	s.project.MustCompose(t, "up", "--detach", "--wait")
}

// expectStatus fails the test unless a command ends with a status and prints texts.
func (s *testStack) expectStatus(t *testing.T, status int, args []string, texts ...string) {
	t.Helper()
	out, err := s.edge(t.Context(), args...)
	exit, _ := errors.AsType[*exec.ExitError](err)
	if exit == nil || exit.ExitCode() != status {
		t.Errorf("edge %s: got %v, want status %d", strings.Join(args, " "), err, status)
	}
	for _, text := range texts {
		if !strings.Contains(out, text) {
			t.Errorf("edge %s: printed %q, want %q", strings.Join(args, " "), out, text)
		}
	}
}

// latest returns the ID of the latest set.
func (s *testStack) latest(t *testing.T) string {
	t.Helper()
	all := s.sets(t)
	return all[len(all)-1].Set
}

func TestFaultsHaveTheirStatusAndAHint(t *testing.T) {
	stack.mustEdge(t, "backup", "corteza")

	t.Run("wrong password", func(t *testing.T) {
		t.Setenv("EDGE_BACKUP_PASSWORD", "wrong")
		stack.expectStatus(t, 3, []string{"backup"}, "edge: hint: the password is in backup.env")
	})
	t.Run("no repository", func(t *testing.T) {
		t.Setenv("EDGE_BACKUP_REPOSITORY", "/nowhere/at/all")
		stack.expectStatus(t, 3, []string{"backup", "list"}, "edge: hint: `edge backup init` creates it")
	})
	t.Run("no such application", func(t *testing.T) {
		stack.expectStatus(t, 1, []string{"backup", "shop"}, `no application "shop"`, "there are: bigcapital, corteza, edge")
	})
	t.Run("no such set", func(t *testing.T) {
		stack.expectStatus(t, 1, []string{"restore", "2020"}, "there is no set 2020", "edge backup list")
	})
	t.Run("set up twice", func(t *testing.T) {
		stack.expectStatus(t, 1, []string{"backup", "init", "--repository", t.TempDir()}, "backup.env exists already")
	})
	t.Run("two at a time", func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		first := stack.command(ctx, "backup", "bigcapital")
		output, err := first.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := first.Start(); err != nil {
			t.Fatal(err)
		}
		lines := bufio.NewScanner(output)
		if !lines.Scan() { // it has stored its first part
			t.Fatal("the first backup prints nothing")
		}
		stack.expectStatus(t, 5, []string{"backup", "edge"}, "another backup, restore or drill is under way", "wait for its end")
		for lines.Scan() {
		}
		if err := first.Wait(); err != nil {
			t.Error(err)
		}
	})
	t.Run("a database that does not run", func(t *testing.T) {
		stack.project.MustCompose(t, "stop", "shop-db")
		defer stack.awaitStack(t)
		stack.expectStatus(t, 1, []string{"backup"}, "bigcapital: shop-db does not run", "docker compose up --detach shop-db", "corteza: set ")
	})
	t.Run("a dump that dies", func(t *testing.T) {
		before := stack.latest(t)
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		go func() {
			for ctx.Err() == nil {
				_, _ = stack.project.Compose(ctx, "exec", "-T", "crm-db", "sh", "-c", "pkill -KILL pg_basebackup || for p in /proc/[0-9]*; do if grep -q pg_basebackup $p/comm 2>/dev/null; then kill -KILL ${p#/proc/}; fi; done")
			}
		}()
		stack.expectStatus(t, 1, []string{"backup", "corteza"}, "back up crm-db-physical.tar", "no set is stored")
		if got := stack.latest(t); got != before {
			t.Errorf("the set %s is stored", got)
		}
	})
	t.Run("half of the data", func(t *testing.T) {
		harness.LongOnly(t, "backups")
		if err := stack.psql(t.Context(), "CREATE TABLE kept AS TABLE compose_record; DELETE FROM compose_record WHERE id > 100;"); err != nil {
			t.Fatal(err)
		}
		stack.mustEdge(t, "backup", "corteza")
		if err := stack.psql(t.Context(), "DROP TABLE kept"); err != nil {
			t.Fatal(err)
		}
		before := stack.latest(t)
		stack.expectStatus(t, 4, []string{"backup", "corteza"}, "crm-db has ", "rows, after ", "edge: hint: see that no data is lost")
		if stack.latest(t) == before {
			t.Error("the set is not kept")
		}
		stack.expectStatus(t, 4, []string{"backup", "corteza"}, "crm-db has ", "edge backup --accept-shrunk") // again, until somebody accepts it
		stack.mustEdge(t, "backup", "corteza")
		if out, err := stack.edge(t.Context(), "backup", "corteza"); err != nil {
			t.Errorf("after it was accepted: %v\n%s", err, out)
		}
	})
}
