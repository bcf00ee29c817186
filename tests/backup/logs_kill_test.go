package backup

import (
	"archive/tar"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/theworklabs/edge/tests/harness"
)

// TestAKilledRunOfLogsLosesNothing: restic takes the end of its input for the end of the data, and goes on when `edge backup logs` is killed. What it
// stores then is the beginning of the logs.
func TestAKilledRunOfLogsLosesNothing(t *testing.T) {
	harness.LongOnly(t, "backups")
	stack.mustEdge(t, "backup", "bigcapital", "corteza")
	write := func() {
		t.Helper()
		if err := stack.mariadb(t.Context(), "INSERT INTO bigcapital_tenant_1.ACCOUNTS_TRANSACTIONS (ACCOUNT_ID, CREDIT) VALUES (1, 11)"); err != nil {
			t.Fatal(err)
		}
		if err := stack.psql(t.Context(), "INSERT INTO compose_record (module_id, value) SELECT 1, md5(i::text) FROM generate_series(1, 2000) i"); err != nil {
			t.Fatal(err)
		}
	}
	write()
	stack.mustEdge(t, "backup", "logs")
	write()
	stack.killLogs(t)
	write()
	out := stack.mustEdge(t, "backup", "logs")
	if !strings.Contains(out, "the last run was killed") {
		t.Errorf("the next run has not noticed that the last one was killed:\n%s", out)
	}
	wanted := stack.fingerprint(t)
	time.Sleep(1100 * time.Millisecond)
	reached := time.Now()
	write() // later than that: a run stores nothing, and reaches no further, if nothing was written since the last one
	stack.mustEdge(t, "backup", "logs")

	// The last run before the end was killed.
	write()
	stack.killLogs(t)
	later := time.Now()
	stack.project.MustCompose(t, "kill", "shop-db", "crm-db")
	unlock := lockLogs(t) // otherwise the restore runs it once more, which removes what the killed run has left
	out, err := stack.edge(t.Context(), "restore", "latest", "bigcapital", "corteza", "--at", later.Format(time.DateTime))
	unlock()
	if err == nil || !strings.Contains(out, "are left aside: it is not complete") || !strings.Contains(out, "they reach until ") {
		t.Errorf("a restore to a time that only the killed run had: %v\n%s", err, out)
	}
	t.Log(stack.mustEdge(t, "restore", "latest", "bigcapital", "corteza", "--at", reached.Format(time.DateTime)))
	if got := stack.fingerprint(t); got != wanted {
		t.Errorf("the data is\n%s\nwant\n%s", got, wanted)
	}
	stack.mustEdge(t, "backup", "bigcapital", "corteza")
}

// lockLogs keeps `edge backup logs` from running, as a run of it does.
func lockLogs(t *testing.T) (unlock func()) {
	t.Helper()
	key := sha256.Sum256([]byte(projectName + " logs"))
	f, err := os.Open(filepath.Join(os.TempDir(), "edge-backup-"+hex.EncodeToString(key[:8])+".lock"))
	if err != nil {
		t.Fatal(err)
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX); err != nil {
		t.Fatal(err)
	}
	return func() { _ = f.Close() }
}

// killLogs leaves what `edge backup logs` leaves if it is killed in the middle, and restic is not: the beginning of its archive, as a snapshot with all tags.
// A real kill does it only now and then, because restic ends when it cannot print.
func (s *testStack) killLogs(t *testing.T) {
	t.Helper()
	noteFile := filepath.Join(s.dir, ".edge-logs")
	note, err := os.ReadFile(noteFile)
	if err != nil {
		t.Fatal(err)
	}
	s.mustEdge(t, "backup", "logs")
	var snapshots []struct {
		ID   string
		Tags []string
	}
	if err := json.Unmarshal(s.pipeRestic(t, nil, "snapshots", "--json", "--tag", "logs"), &snapshots); err != nil {
		t.Fatal(err)
	}
	last := snapshots[len(snapshots)-1]
	archive := s.pipeRestic(t, nil, "dump", last.ID, "/logs.tar")
	args := []string{"backup", "--stdin", "--stdin-filename", "logs.tar", "--host", "edge"}
	for _, tag := range last.Tags {
		args = append(args, "--tag", tag)
	}
	// The end of an entry: MariaDB's pieces are there, and PostgreSQL's are missing.
	s.pipeRestic(t, archive[:endOfFirstEntry(t, archive)], args...)
	s.pipeRestic(t, nil, "forget", last.ID)
	if err := os.WriteFile(noteFile, note, 0o644); err != nil {
		t.Fatal(err)
	}
}

// endOfFirstEntry returns where the second entry of an archive begins.
func endOfFirstEntry(t *testing.T, archive []byte) int {
	t.Helper()
	header, err := tar.NewReader(bytes.NewReader(archive)).Next()
	if err != nil {
		t.Fatal(err)
	}
	const block = 512
	return block + int(header.Size+block-1)/block*block
}

// pipeRestic runs restic on the stack's repository with an input, and returns what it prints to stdout.
func (s *testStack) pipeRestic(t *testing.T, input []byte, args ...string) []byte {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "restic", args...)
	cmd.Env = append(os.Environ(), "RESTIC_REPOSITORY="+s.repository, "RESTIC_PASSWORD="+s.recovery)
	cmd.Stdin = bytes.NewReader(input)
	var errs bytes.Buffer
	cmd.Stderr = &errs
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("restic %s: %v\n%s", strings.Join(args, " "), err, &errs)
	}
	return out
}
