package backup

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/theworklabs/edge/internal/compose"
)

// TestADrillSaysWhatItDoesNotRestore: a set with a dump of MongoDB is not wholly rehearsed.
func TestADrillSaysWhatItDoesNotRestore(t *testing.T) {
	run := &restoreRun{Restore: new(Restore), session: session{progress: &progress{out: io.Discard}}}
	if _, err := run.findTargets(t.Context(), &Manifest{App: "bigcapital", Parts: []Part{{Name: "mongo.archive", Service: "mongo", Kind: Mongo}}}); err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(run.notRestored, []string{"mongo.archive"}) {
		t.Errorf("got %q", run.notRestored)
	}
	r := &DrillResult{Sets: map[string]string{"bigcapital": "1"}, RecoverySeconds: 2, RecoveryPoint: time.Now(), NotRestored: run.notRestored}
	if got := r.summary(); !strings.HasPrefix(got, "the drill of 1 (bigcapital) has passed, without mongo.archive, which it cannot restore: restored and checked in 2s, ") {
		t.Error(got)
	}
	r.NotRestored = nil
	if got := r.summary(); !strings.HasPrefix(got, "the drill of 1 (bigcapital) has passed: restored") {
		t.Error(got)
	}
}

// TestARandomDrillIsOfAllApplications: after a backup of one alone, or one that failed in a part, its set does not pass for the weekly drill of all.
func TestARandomDrillIsOfAllApplications(t *testing.T) {
	sets := []*Set{
		{ID: "1", App: "bigcapital"},
		{ID: "1", App: "corteza"},
		{ID: "1", App: EdgeApp},
		{ID: "2", App: EdgeApp},
		{ID: "3", App: "corteza"},
	}
	for range 50 {
		if got := drillSet(sets, "random"); got != "1" {
			t.Fatalf("got %s", got)
		}
	}
	if got := drillSet(sets[3:], "random"); got != "3" {
		t.Errorf("got %s", got)
	}
	if got := drillSet(nil, "random"); got != "latest" {
		t.Errorf("got %s", got)
	}
	if got := drillSet(sets, "2"); got != "2" {
		t.Errorf("got %s", got)
	}
}

// TestADrillWaitsForABackup: otherwise the drill of a week is lost because a backup is slow.
func TestADrillWaitsForABackup(t *testing.T) {
	t.Setenv("TMPDIR", t.TempDir())
	unlock, err := lockProject("shop")
	if err != nil {
		t.Fatal(err)
	}
	var out strings.Builder
	s := &session{stack: &compose.Stack{Name: "shop"}, progress: &progress{out: &out}}
	if _, err := s.awaitProject(t.Context(), 0); !errors.Is(err, ErrBusy) {
		t.Errorf("without waiting: %v", err)
	}
	if _, err := s.awaitProject(t.Context(), time.Millisecond); !errors.Is(err, ErrBusy) || !strings.Contains(err.Error(), "still after 1ms") {
		t.Errorf("after waiting: %v", err)
	}
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(errors.New("interrupted"))
	if _, err := s.awaitProject(ctx, time.Hour); err == nil || err.Error() != "interrupted" {
		t.Errorf("interrupted: %v", err)
	}
	time.AfterFunc(10*time.Millisecond, unlock)
	unlock, err = s.awaitProject(t.Context(), time.Minute)
	if err != nil {
		t.Fatal(err)
	}
	unlock()
	if got := strings.Count(out.String(), "waits for its end"); got != 3 {
		t.Errorf("%d notes, want one for each wait: %s", got, out.String())
	}
}

// TestWhatAKilledDrillHasLeftIsRemoved: it has the data, and the secrets of .env.
func TestWhatAKilledDrillHasLeftIsRemoved(t *testing.T) {
	t.Setenv("TMPDIR", t.TempDir())
	left := filepath.Join(os.TempDir(), "edge-drill-shop-123")
	other := filepath.Join(os.TempDir(), "edge-drill-shop-2-123") // of another project
	for _, dir := range []string{left, other} {
		if err := os.Mkdir(dir, 0o700); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(filepath.Join(left, drillFile), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	docker := &recordingDocker{}
	s := &session{docker: docker, stack: &compose.Stack{Name: "shop"}, progress: &progress{out: io.Discard}}
	docker.out = "shop-drill-db-1=\n" // a project of that name that is no drill
	s.removeLeftDrill(t.Context())
	if _, err := os.Stat(left); err != nil || len(docker.commands) != 1 {
		t.Errorf("a project that is no drill: %v, %q", err, docker.commands)
	}
	docker.out, docker.commands = "shop-drill-db-1=true\n", nil
	s.removeLeftDrill(t.Context())
	want := "compose --project-name shop-drill --project-directory " + left + " --file " + left + "/compose.json down --volumes --remove-orphans --timeout 5"
	if got := strings.Join(docker.commands[1:], "\n"); got != want {
		t.Errorf("got %s\nwant %s", got, want)
	}
	if _, err := os.Stat(left); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the directory is there: %v", err)
	}
	if _, err := os.Stat(other); err != nil {
		t.Error(err)
	}
	s.removeLeftDrill(t.Context())
	if len(docker.commands) != 2 {
		t.Errorf("without anything left: %q", docker.commands)
	}
}

// recordingDocker is a docker command that does nothing.
type recordingDocker struct {
	commands []string
	out      string
}

// Run implements [Docker].
func (d *recordingDocker) Run(_ context.Context, args ...string) (stdout, stderr string, err error) {
	d.commands = append(d.commands, strings.Join(args, " "))
	return d.out, "", nil
}

// Stream implements [Docker].
func (*recordingDocker) Stream(context.Context, io.Reader, io.Writer, ...string) (string, error) {
	return "", errors.New("unexpected")
}

// TestOnlyANewContainerMayBeAJob: one that ran before the restore should run after it.
func TestOnlyANewContainerMayBeAJob(t *testing.T) {
	for _, c := range []struct {
		isDrill, isNewHost bool
		policy             string
		want               bool
	}{
		{true, false, "no", true}, {false, true, "on-failure:3", true}, {true, false, "unless-stopped", false}, {false, false, "no", false},
	} {
		r := &restoreRun{Restore: &Restore{isNewHost: c.isNewHost}, isDrill: c.isDrill}
		if got := r.mayBeJob(journalContainer{Policy: c.policy}); got != c.want {
			t.Errorf("%+v: got %t", c, got)
		}
	}
}

func TestAnArchiveIsReadToItsEnd(t *testing.T) {
	var archive bytes.Buffer
	w := tar.NewWriter(&archive)
	for _, name := range []string{"compose.yaml", ".env"} {
		if err := w.WriteHeader(&tar.Header{Name: name, Mode: 0o600, Size: 1}); err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write([]byte("x")); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	whole := archive.Bytes()
	names := make(map[string]bool)
	if err := readNames(&archive, names); err != nil || !names[".env"] || !names["compose.yaml"] || archive.Len() > 0 {
		t.Errorf("got %v, %v, %d bytes are left", names, err, archive.Len())
	}
	if err := readNames(bytes.NewReader(whole[:1200]), names); err == nil {
		t.Error("a truncated archive is no error")
	}
}
