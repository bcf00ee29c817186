package replication

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// expectRefused promotes, which has to fail with a text, and to promote nothing.
func (f *fakes) expectRefused(t *testing.T, p *Promotion, text string) {
	t.Helper()
	p.Stack, p.Timeout = f.stack, time.Second
	if err := p.Run(t.Context()); err == nil || !strings.Contains(err.Error(), text) {
		t.Errorf("got %v, want %q; printed\n%s", err, text, f.out)
	}
	if n := f.mariadb.promoted + f.postgres.promoted; n > 0 {
		t.Errorf("%d servers were promoted", n)
	}
}

func (f *fakes) expectPromoted(t *testing.T, p *Promotion) {
	t.Helper()
	p.Stack, p.Timeout = f.stack, time.Second
	if err := p.Run(t.Context()); err != nil {
		t.Fatalf("%v; printed\n%s", err, f.out)
	}
	if f.mariadb.promoted == 0 || f.postgres.promoted == 0 {
		t.Error("not all servers were promoted")
	}
	text, err := os.ReadFile(filepath.Join(f.local.directory, ".env"))
	if err != nil || !strings.Contains(string(text), "DATABASES_HOST=b\nDATABASES_REPLICA=a\nDATABASES_EPOCH=1\n") {
		t.Errorf(".env has\n%s, %v", text, err)
	}
}

func (f *fakes) isAlone(name string) {
	f.local.state.Databases[name].Mode = Alone
	f.local.state.Databases[name].LastInSync = time.Now().Add(-3 * time.Hour)
}

func TestAPrimaryThatWorksIsStoppedAndReplaced(t *testing.T) {
	f := newFakes(t)
	f.isAlone("mariadb") // it has caught up by now
	f.expectPromoted(t, &Promotion{})
	if got := f.hosts["a"].running; len(got) > 0 {
		t.Errorf("on the old primary's host run %q", got)
	}
}

// TestAnInterruptedPromotionComparesAgain if the watcher has run since then: somebody has gone back to the old primary.
func TestAnInterruptedPromotionComparesAgain(t *testing.T) {
	f := newFakes(t)
	p := &Promotion{Stack: f.stack}
	if err := p.load(t.Context()); err != nil {
		t.Fatal(err)
	}
	compared := &promotionJournal{From: "a", To: "b", Compared: true, Stopped: true, StateTime: f.local.state.Time, ReplicaStarted: map[string]time.Time{
		"mariadb": f.mariadb.replica.Started, "postgres": f.postgres.replica.Started,
	}}
	if err := p.writeJournal(compared); err != nil {
		t.Fatal(err)
	}
	f.mariadb.primaryErr, f.postgres.primaryErr, f.hosts["a"].isDown = errDown, errDown, true
	f.isAlone("mariadb")
	f.local.state.Time = f.local.state.Time.Add(14 * 24 * time.Hour)
	f.expectRefused(t, &Promotion{PrimaryIsOff: true}, "the replica may lack commits of 3h")

	// The watcher has not run, but the old primary was not stopped either: an application may have written to it.
	f.local.state.Time, compared.Stopped = compared.StateTime, false
	if err := p.writeJournal(compared); err != nil {
		t.Fatal(err)
	}
	f.expectRefused(t, &Promotion{PrimaryIsOff: true}, "the replica may lack commits of 3h")

	// Nothing has happened meanwhile.
	compared.Stopped = true
	if err := p.writeJournal(compared); err != nil {
		t.Fatal(err)
	}
	f.expectPromoted(t, &Promotion{PrimaryIsOff: true})
}

// TestAReplicaThatRestartsBetweenTwoCalls has discarded what it had received, and that is asked for, also after its promotion has begun.
func TestAReplicaThatRestartsBetweenTwoCalls(t *testing.T) {
	f := newFakes(t)
	p := &Promotion{Stack: f.stack}
	if err := p.load(t.Context()); err != nil {
		t.Fatal(err)
	}
	journal := &promotionJournal{From: "a", To: "b", Compared: true, Stopped: true, Promoted: []string{"mariadb"}, StateTime: f.local.state.Time, ReplicaStarted: map[string]time.Time{
		"mariadb": f.mariadb.replica.Started, "postgres": f.postgres.replica.Started,
	}}
	if err := p.writeJournal(journal); err != nil {
		t.Fatal(err)
	}
	f.mariadb.primaryErr, f.postgres.primaryErr, f.hosts["a"].isDown = errDown, errDown, true
	f.mariadb.replica.Started = f.mariadb.replica.Started.Add(time.Minute)
	f.expectRefused(t, &Promotion{PrimaryIsOff: true}, "and discarded what it had not applied")
	if ran := strings.Join(f.local.ran, "\n"); strings.Contains(ran, "up --detach") {
		t.Errorf("the applications were opened to the old primary:\n%s", ran)
	}
	f.expectPromoted(t, &Promotion{PrimaryIsOff: true, MayLose: time.Minute})
	if !strings.Contains(f.out.String(), "a may have commits that b lacks") {
		t.Errorf("printed\n%s", f.out)
	}
}

// TestAfterTheFirstPromotionThereIsNoWayBack: the applications would write to two primaries.
func TestAfterTheFirstPromotionThereIsNoWayBack(t *testing.T) {
	f := newFakes(t)
	p := &Promotion{Stack: f.stack, Timeout: time.Second}
	if err := p.load(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := p.writeJournal(&promotionJournal{From: "a", To: "b", Promoted: []string{"mariadb"}}); err != nil {
		t.Fatal(err)
	}
	f.mariadb.replica, f.postgres.lacks = ReplicaState{IsWritable: true}, true
	if err := p.Run(t.Context()); err == nil || !strings.Contains(err.Error(), "does not get everything") {
		t.Errorf("got %v", err)
	}
	if ran := strings.Join(f.local.ran, "\n"); strings.Contains(ran, "up --detach") {
		t.Errorf("the applications were opened to the old primary:\n%s", ran)
	}
}

// TestAQueryThatFailsSkipsNoComparison: the primary was alone, and its replica is behind.
func TestAQueryThatFailsSkipsNoComparison(t *testing.T) {
	for failures := 1; failures < 3; failures++ {
		f := newFakes(t)
		f.isAlone("mariadb")
		f.mariadb.failures, f.mariadb.lacks = failures, true
		p := &Promotion{Stack: f.stack, Timeout: time.Second}
		if err := p.Run(t.Context()); err == nil || f.mariadb.promoted > 0 {
			t.Errorf("%d failures: %v, promoted %d times", failures, err, f.mariadb.promoted)
		}
	}
}

// TestAPrimaryWithoutContainersIsOff: its machine was set up anew.
func TestAPrimaryWithoutContainersIsOff(t *testing.T) {
	f := newFakes(t)
	f.mariadb.primaryErr, f.postgres.primaryErr, f.hosts["a"].removed = errDown, errDown, true
	f.expectRefused(t, &Promotion{}, "a cannot be stopped")
	f.expectPromoted(t, &Promotion{PrimaryIsOff: true})
}

// TestNewerDataIsNotOverwritten by a copy of an old primary, to which an older .env leads.
func TestNewerDataIsNotOverwritten(t *testing.T) {
	f := newFakes(t)
	f.postgres.replica = ReplicaState{IsWritable: true, Generation: 2}
	r := &Rejoin{Stack: f.stack, Timeout: time.Second}
	if err := r.Run(t.Context()); err == nil || !strings.Contains(err.Error(), "its data is newer") || len(f.hosts["b"].ran) > 0 {
		t.Errorf("got %v, ran %q", err, f.hosts["b"].ran)
	}
	r.Overwrite = true
	if err := r.checkPrimary(t.Context(), servers{Databases[1], fakePrimary{fakeServer{f.postgres}}, fakeServer{f.postgres}}); err != nil {
		t.Errorf("with --overwrite: %v", err)
	}
}

// TestWhatAnInterruptedCopyHasLeft is removed, and never takes the place of newer data.
func TestWhatAnInterruptedCopyHasLeft(t *testing.T) {
	for _, c := range []struct{ state, before, following string }{
		{"", "", ""},
		{"staging", "", "undo"},
		{"moving-in", "undo", "commit"},
		{"swapped", "commit", "commit"},
		{"removing", "commit", "commit"},
	} {
		did := ""
		volume := func(operation string) (string, error) {
			if operation == "state" {
				return "/data\t" + c.state, nil
			}
			did += operation
			return "", nil
		}
		if err := finishEarlier(volume); err != nil || did != c.before {
			t.Errorf("before another copy, with %q: %q, %v, want %q", c.state, did, err, c.before)
		}
		did = ""
		if err := finishCopy(volume); err != nil || did != c.following {
			t.Errorf("of a replica that follows, with %q: %q, %v, want %q", c.state, did, err, c.following)
		}
	}
}

// TestARestoreMakesTheReplicaUnknown: what was known of it would let a replica be promoted that has nothing of what was restored.
func TestARestoreMakesTheReplicaUnknown(t *testing.T) {
	f := newFakes(t)
	if err := f.stack.Forget(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := f.hosts["b"].running; len(got) > 0 {
		t.Errorf("on the replica's host run %q", got)
	}
	if ran := strings.Join(f.local.ran, "\n"); !strings.Contains(ran, "stop replication") || !strings.Contains(ran, "run --rm --no-deps --no-TTY replication replica forget-state") {
		t.Errorf("ran\n%s", ran)
	}
	file := filepath.Join(t.TempDir(), "state.json")
	if err := ForgetState(file); err != nil {
		t.Errorf("without a state: %v", err)
	}
	f.local.state.Epoch = 4
	if err := f.local.state.write(file); err != nil {
		t.Fatal(err)
	}
	if err := ForgetState(file); err != nil {
		t.Fatal(err)
	}
	got, err := ReadState(file)
	if err != nil || got.Epoch != 4 || len(got.Databases) > 0 {
		t.Errorf("left %+v, %v", got, err)
	}
	w := &Watcher{Config: &Config{Primary: "a", Replica: "b", Epoch: 4}}
	w.setDefaults()
	begun, err := w.begin(got, time.Now())
	if err != nil || begun.Databases["postgres"].Mode != Alone || !begun.Databases["postgres"].LastInSync.IsZero() {
		t.Errorf("the watcher begins with %+v, %v", begun.Databases["postgres"], err)
	}
}
