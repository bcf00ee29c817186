package backup

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/theworklabs/edge/tests/harness"
)

// The pages of docs/disaster-recovery.md that no other test follows.

// TestADamagedDatabaseIsRestored: its server does not start any more.
func TestADamagedDatabaseIsRestored(t *testing.T) {
	harness.LongOnly(t, "backups")
	stack.mustEdge(t, "backup", "bigcapital", "corteza")
	if err := stack.mariadb(t.Context(), "INSERT INTO bigcapital_tenant_1.ACCOUNTS_TRANSACTIONS (ACCOUNT_ID, CREDIT) VALUES (1, 4711)"); err != nil {
		t.Fatal(err)
	}
	wanted := stack.fingerprint(t)
	time.Sleep(1100 * time.Millisecond)
	stack.mustEdge(t, "backup", "logs")
	time.Sleep(time.Second)
	at := time.Now().Add(-time.Second)
	stack.project.MustCompose(t, "exec", "-T", "shop-db", "sh", "-c", "cd /var/lib/mysql; for f in ibdata1 ib_logfile0; do dd if=/dev/urandom of=$f bs=64k count=16 conv=notrunc 2>/dev/null; done")
	stack.project.MustCompose(t, "kill", "shop-db")
	stack.project.MustCompose(t, "start", "shop-db")
	harness.Eventually(t, "the server does not start", func() bool {
		out, _ := stack.project.Compose(t.Context(), "logs", "--tail", "50", "shop-db")
		return strings.Contains(out, "Aborting") || strings.Contains(out, "ERROR")
	})
	out, err := stack.edge(t.Context(), "restore", "latest", "bigcapital", "--at", at.Format(time.DateTime))
	_, reached, found := strings.Cut(out, "they reach until ")
	if err == nil || !found {
		t.Fatalf("a restore to a time after the last logs: %v\n%s", err, out)
	}
	t.Log(stack.mustEdge(t, "restore", "latest", "bigcapital", "--at", strings.Fields(reached)[0]))
	if got := stack.fingerprint(t); got != wanted {
		t.Errorf("the data is\n%s\nwant\n%s", got, wanted)
	}
}

// TestALostKeyIsReplaced with restic, by the one that is left.
func TestALostKeyIsReplaced(t *testing.T) {
	harness.LongOnly(t, "backups")
	stack.mustEdge(t, "backup", "edge")
	location := filepath.Join(t.TempDir(), "repository")
	if out, err := exec.Command("cp", "-r", stack.repository, location).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	restic := func(password string, args ...string) (string, error) {
		cmd := exec.CommandContext(t.Context(), "restic", args...)
		cmd.Env = append(os.Environ(), "RESTIC_REPOSITORY="+location, "RESTIC_PASSWORD="+password)
		out, err := cmd.CombinedOutput()
		return string(out), err
	}
	text, err := os.ReadFile(filepath.Join(stack.dir, "backup.env"))
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(text), "EDGE_BACKUP_PASSWORD=")
	lost, _, _ := strings.Cut(rest, "\n")
	newKey := filepath.Join(t.TempDir(), "key")
	if err := os.WriteFile(newKey, []byte("new-password"), 0o600); err != nil {
		t.Fatal(err)
	}
	if out, err := restic(stack.recovery, "key", "add", "--new-password-file", newKey); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	out, err := restic(lost, "key", "list")
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	_, line, _ := strings.Cut(out, "*") // the key in use
	if out, err := restic(stack.recovery, "key", "remove", strings.Fields(line)[0]); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	t.Setenv("EDGE_BACKUP_REPOSITORY", location)
	t.Setenv("EDGE_BACKUP_PASSWORD", lost)
	stack.expectStatus(t, 3, []string{"backup", "list"}, "edge: hint: the password is in backup.env")
	t.Setenv("EDGE_BACKUP_PASSWORD", "new-password")
	stack.mustEdge(t, "backup", "edge")
}

// TestTheSecondRepositoryHasAllSets and logs when the first one is gone, and its drill passes. It was added later, and a third one takes its place.
func TestTheSecondRepositoryHasAllSets(t *testing.T) {
	harness.LongOnly(t, "backups")
	second := filepath.Join(t.TempDir(), "second")
	settings := filepath.Join(stack.dir, "backup.env")
	before, err := os.ReadFile(settings)
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := os.WriteFile(settings, before, 0o600); err != nil {
			t.Error(err)
		}
	}()
	created := stack.mustEdge(t, "backup", "init", "--copy-to", second)
	_, after, _ := strings.Cut(created, "a recovery key of its own:")
	cmd := exec.Command("restic", "snapshots")
	cmd.Env = append(os.Environ(), "RESTIC_REPOSITORY="+second, "RESTIC_PASSWORD="+strings.Fields(after + " none")[0])
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("with its recovery key: %v: %s", err, out)
	}
	if out := stack.mustEdge(t, "backup", "corteza", "bigcapital"); !strings.Contains(out, "copied to "+second) {
		t.Errorf("printed\n%s", out)
	}
	// The runbook BackupCopyFailed: the backup says why, and once the repository is back, it gets what it lacks.
	if err := os.Rename(second, second+".away"); err != nil {
		t.Fatal(err)
	}
	out, err := stack.edge(t.Context(), "backup", "corteza", "--accept-shrunk")
	t.Log(out)
	if err == nil || !strings.Contains(out, "corteza: set ") || !strings.Contains(out, "edge: error: copy the set: ") || !strings.Contains(out, second) {
		t.Errorf("without the second repository: %v\n%s", err, out)
	}
	if err := os.Rename(second+".away", second); err != nil {
		t.Fatal(err)
	}
	if err := stack.psql(t.Context(), "INSERT INTO compose_record (module_id, value) VALUES (1, 'later')"); err != nil {
		t.Fatal(err)
	}
	time.Sleep(1100 * time.Millisecond)
	at := time.Now()
	stack.mustEdge(t, "backup", "logs")
	stack.mustEdge(t, "backup", "edge") // which copies the logs, too
	latest := stack.latest(t)           // that of the edge
	wanted := stack.fingerprint(t)
	stack.project.MustCompose(t, "kill", "crm-db") // no logs but the stored ones
	t.Setenv("EDGE_BACKUP_REPOSITORY", second)
	if got := stack.latest(t); got != latest {
		t.Errorf("the latest set of the second repository is %s, and of the first one %s", got, latest)
	}
	if out, err := stack.edge(t.Context(), "backup", "edge"); err == nil || !strings.Contains(out, "are the same repository: there is no second copy") {
		t.Errorf("a copy to itself: %v\n%s", err, out)
	}
	if err := os.WriteFile(settings, before, 0o600); err != nil { // without the second one
		t.Fatal(err)
	}
	third := filepath.Join(t.TempDir(), "third")
	stack.mustEdge(t, "backup", "init", "--copy-to", third)
	if out := stack.mustEdge(t, "backup", "edge"); !strings.Contains(out, "copied to "+third) {
		t.Errorf("printed\n%s", out)
	}
	t.Log(stack.mustEdge(t, "restore", "latest", "corteza", "--at", at.Format(time.DateTime)))
	if got := stack.fingerprint(t); got != wanted {
		t.Errorf("the data is\n%s\nwant\n%s", got, wanted)
	}
	if result, err := stack.drill(t); err != nil {
		t.Errorf("%v, %+v", err, result)
	}
}
