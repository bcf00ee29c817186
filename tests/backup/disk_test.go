package backup

import (
	"bufio"
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/theworklabs/edge/tests/harness"
)

// otherRepository creates a repository at a location, which the commands of the test use.
func (s *testStack) otherRepository(t *testing.T, location string) {
	t.Helper()
	cmd := exec.Command("restic", "init")
	cmd.Env = append(os.Environ(), "RESTIC_REPOSITORY="+location, "RESTIC_PASSWORD="+s.recovery)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("restic init: %v: %s", err, out)
	}
	t.Setenv("EDGE_BACKUP_REPOSITORY", location)
	t.Setenv("EDGE_BACKUP_PASSWORD", s.recovery)
}

// TestAFullRepositoryStoresNoSet: its disk becomes full while parts are written. Then there is space again.
func TestAFullRepositoryStoresNoSet(t *testing.T) {
	harness.LongOnly(t, "backups")
	dir := filepath.Join(t.TempDir(), "disk")
	harness.Mount(t, dir, "-t", "tmpfs", "-o", "size=300m", "tmpfs")
	stack.otherRepository(t, filepath.Join(dir, "repository"))
	filler := filepath.Join(dir, "filler")
	if err := os.WriteFile(filler, make([]byte, 100<<20), 0o600); err != nil {
		t.Fatal(err)
	}
	stack.expectStatus(t, 1, []string{"backup", "corteza"}, "the repository's disk has ", "a backup needs about 268 MB", "make space there")
	if err := os.Remove(filler); err != nil {
		t.Fatal(err)
	}

	cmd := stack.command(t.Context(), "backup", "corteza")
	output, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	var stderr strings.Builder
	cmd.Stderr = &stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewScanner(output)
	for lines.Scan() {
		if strings.Contains(lines.Text(), "crm-db-physical.tar") { // stored; the next ones are not
			if out, err := exec.Command("dd", "if=/dev/zero", "of="+filler, "bs=64k").CombinedOutput(); err == nil {
				t.Errorf("the disk does not get full: %s", out)
			}
		}
	}
	exit, _ := errors.AsType[*exec.ExitError](cmd.Wait())
	if exit == nil || exit.ExitCode() != 1 || !strings.Contains(stderr.String(), "no space left on device") || !strings.Contains(stderr.String(), "edge: hint: make space where the repository is") {
		t.Errorf("got %v: %s", exit, stderr.String())
	}
	if err := os.Remove(filler); err != nil {
		t.Fatal(err)
	}
	if got := stack.sets(t); len(got) != 0 {
		t.Errorf("sets: %+v", got)
	}
	stack.mustEdge(t, "backup", "corteza")
	stack.mustEdge(t, "verify", "--data", "100%")
}

// TestAFullVolumeUndoesTheRestore: there is no space for the new data beside the present one.
func TestAFullVolumeUndoesTheRestore(t *testing.T) {
	harness.LongOnly(t, "backups")
	t.Cleanup(func() { // after the disk is unmounted
		if _, err := stack.project.Compose(context.Background(), "up", "--detach", "--force-recreate", "--wait", "crm"); err != nil {
			t.Error(err)
		}
		_, _ = stack.edge(context.Background(), "backup", "corteza") // status 4: it has much less data than the set before
	})
	harness.Mount(t, filepath.Join(stack.dir, "disk"), "-t", "tmpfs", "-o", "size=1m", "tmpfs")
	stack.project.MustCompose(t, "up", "--detach", "--force-recreate", "--wait", "crm")
	stack.project.MustCompose(t, "exec", "-T", "crm", "dd", "if=/dev/urandom", "of=/disk/file", "bs=1k", "count=700")
	stack.mustEdge(t, "backup", "corteza")
	if err := stack.psql(t.Context(), "INSERT INTO compose_record (module_id, value) VALUES (1, 'after the backup')"); err != nil {
		t.Fatal(err)
	}
	before := stack.fingerprint(t)
	stack.expectStatus(t, 1, []string{"restore", "latest", "corteza"}, "stage crm:/disk", "no space left on device", "the data is as it was before the restore")
	stack.awaitStack(t)
	if got := stack.fingerprint(t); got != before {
		t.Errorf("the data is\n%s\nwant\n%s", got, before)
	}
	stack.expectNothingStaged(t)
}

// TestAReadOnlyRepositoryCanBeRestoredFrom, and takes no backup.
func TestAReadOnlyRepositoryCanBeRestoredFrom(t *testing.T) {
	harness.LongOnly(t, "backups")
	stack.mustEdge(t, "backup", "corteza")
	before := stack.fingerprint(t)
	if err := stack.psql(t.Context(), "DELETE FROM compose_record WHERE id % 2 = 0"); err != nil {
		t.Fatal(err)
	}
	harness.Mount(t, stack.repository, "--bind", stack.repository)
	if out, err := exec.Command("mount", "-o", "remount,ro,bind", stack.repository).CombinedOutput(); err != nil {
		t.Fatalf("remount: %v: %s", err, out)
	}
	stack.expectStatus(t, 1, []string{"backup", "corteza"}, "read-only file system")
	stack.expectStatus(t, 1, []string{"backup", "logs"}, "read-only file system")
	stack.mustEdge(t, "restore", "latest", "corteza")
	if got := stack.fingerprint(t); got != before {
		t.Errorf("the data is\n%s\nwant\n%s", got, before)
	}
}

// TestADamagedRepositoryIsFound by verify, and a restore from it changes nothing.
func TestADamagedRepositoryIsFound(t *testing.T) {
	harness.LongOnly(t, "backups")
	location := filepath.Join(t.TempDir(), "repository")
	stack.otherRepository(t, location)
	stack.mustEdge(t, "backup", "corteza")
	stack.mustEdge(t, "verify", "--data", "100%")
	before := stack.fingerprint(t)
	packs := mustGlob(t, filepath.Join(location, "data", "*", "*"))
	largest := ""
	size := int64(0)
	for _, name := range packs {
		if info, err := os.Stat(name); err == nil && info.Size() > size {
			largest, size = name, info.Size()
		}
	}
	text, err := os.ReadFile(largest)
	if err != nil {
		t.Fatal(err)
	}
	text[len(text)/2] ^= 1
	if err := errors.Join(os.Chmod(largest, 0o600), os.WriteFile(largest, text, 0o600)); err != nil {
		t.Fatal(err)
	}
	stack.expectStatus(t, 1, []string{"verify", "--data", "100%"}, "edge: hint: `edge verify` says what is damaged; docs/runbooks.md#drillfailed")
	stack.expectStatus(t, 1, []string{"restore", "latest", "corteza"}, "the data is as it was before the restore")
	stack.awaitStack(t)
	if got := stack.fingerprint(t); got != before {
		t.Errorf("the data is\n%s\nwant\n%s", got, before)
	}

	// As docs/runbooks.md repairs it. A new backup alone relies on what is damaged.
	restic := func(args ...string) string {
		cmd := exec.CommandContext(t.Context(), "restic", args...)
		cmd.Env = append(os.Environ(), "RESTIC_REPOSITORY="+location, "RESTIC_PASSWORD="+stack.recovery)
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Fatalf("restic %s: %v\n%s", args[0], err, out)
		}
		return string(out)
	}
	if err := os.Remove(largest); err != nil {
		t.Fatal(err)
	}
	stack.mustEdge(t, "backup", "corteza")
	stack.expectStatus(t, 1, []string{"restore", "latest", "corteza"}, "the data is as it was before the restore")
	damaged := regexp.MustCompile(`in snapshot (\w+)`).FindAllStringSubmatch(restic("find", "--pack", filepath.Base(largest)), -1)
	if len(damaged) == 0 {
		t.Fatal("no snapshot needs the pack")
	}
	restic("rebuild-index")
	stack.mustEdge(t, "backup", "corteza")
	stack.mustEdge(t, "restore", "latest", "corteza")
	if got := stack.fingerprint(t); got != before {
		t.Errorf("after the repair, the data is\n%s\nwant\n%s", got, before)
	}
	stack.expectStatus(t, 1, []string{"verify", "--data", "100%"}, "not found in index")
	forget := []string{"forget"}
	for _, match := range damaged {
		if !slices.Contains(forget, match[1]) {
			forget = append(forget, match[1])
		}
	}
	restic(forget...)
	stack.mustEdge(t, "backup", "corteza")
	stack.mustEdge(t, "verify", "--data", "100%")
}

// stopped returns the container of a service that need not run.
func (s *testStack) stopped(t *testing.T, service string) string {
	t.Helper()
	ids := strings.Fields(harness.MustDocker(t, "ps", "--all", "--quiet", "--filter", "label=com.docker.compose.project="+projectName, "--filter", "label=com.docker.compose.service="+service))
	if len(ids) != 1 {
		t.Fatalf("containers of %s: %v", service, ids)
	}
	return ids[0]
}

// TestABackupWaitsForAMigration: a dump in the middle of one has half of its changes.
func TestABackupWaitsForAMigration(t *testing.T) {
	harness.LongOnly(t, "backups")
	id := stack.stopped(t, "crm-migration")
	file := filepath.Join(t.TempDir(), "seconds")
	if err := os.WriteFile(file, []byte("5"), 0o644); err != nil {
		t.Fatal(err)
	}
	harness.MustDocker(t, "cp", file, id+":/seconds")
	harness.MustDocker(t, "start", id)
	start := time.Now()
	stack.mustEdge(t, "backup", "corteza")
	ended := harness.MustDocker(t, "inspect", "--format", "{{.State.Running}}", id)
	if took := time.Since(start); took < 4*time.Second || ended != "false" {
		t.Errorf("the backup took %v, and the migration still runs: %s", took, ended)
	}
}

// TestAKilledDrillIsRemovedByTheNext.
func TestAKilledDrillIsRemovedByTheNext(t *testing.T) {
	harness.LongOnly(t, "backups")
	stack.mustEdge(t, "backup", "corteza")
	before := stack.fingerprint(t)
	if !stack.kill(t, 6*time.Second, "drill") {
		t.Fatal("the drill ended before it was killed")
	}
	if _, err := stack.drill(t, "latest"); err != nil {
		t.Error(err)
	}
	if out := harness.MustDocker(t, "ps", "--all", "--quiet", "--filter", "label=com.docker.compose.project="+projectName+"-drill"); out != "" {
		t.Errorf("containers are left: %s", out)
	}
	if got := stack.fingerprint(t); got != before {
		t.Errorf("the data has changed:\n%s\nbefore:\n%s", got, before)
	}
}

// TestAPowerCutInARestoreStartsNothingOnHalfOfTheData: everything ends at once, databases and helpers included.
func TestAPowerCutInARestoreStartsNothingOnHalfOfTheData(t *testing.T) {
	harness.LongOnly(t, "backups")
	stack.mustEdge(t, "backup", "corteza")
	newData := stack.fingerprint(t)
	if err := stack.psql(t.Context(), "DELETE FROM compose_record WHERE id % 3 = 0"); err != nil {
		t.Fatal(err)
	}
	oldData := stack.fingerprint(t)
	for _, phase := range []string{"staging", "swapping", "checking", "committing"} {
		stack.killIn(t, phase, "latest", "corteza")
		for _, filter := range []string{"label=com.docker.compose.project=" + projectName, "name=edge-restore-"} {
			for _, id := range strings.Fields(harness.MustDocker(t, "ps", "--quiet", "--filter", filter)) {
				_ = exec.Command("docker", "kill", id).Run() // it may have ended meanwhile
			}
		}
		for _, service := range []string{"crm", "crm-db"} {
			if policy := dockerInspect(t, stack.stopped(t, service), "{{.HostConfig.RestartPolicy.Name}}"); policy != "no" && phase != "staging" { // until then, the old data is in its place
				t.Errorf("%s: Docker would start %s at boot (%s)", phase, service, policy)
			}
		}
		stack.project.MustCompose(t, "start", "edge")
		out, _ := stack.edge(t.Context(), "restore", "no-such-set") // it finishes the interrupted one
		if up := harness.MustDocker(t, "ps", "--quiet", "--filter", "label=com.docker.compose.service=crm-db", "--filter", "label=com.docker.compose.project="+projectName); up == "" {
			t.Errorf("after a power cut in %s, the next restore leaves the database down", phase)
		}
		stack.awaitStack(t)
		if got := stack.fingerprint(t); got != oldData && got != newData {
			t.Errorf("after a power cut in %s, the data is\n%s\nold:\n%s\nnew:\n%s\n%s", phase, got, oldData, newData, out)
		}
		stack.expectNothingStaged(t)
	}
}
