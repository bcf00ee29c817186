package replication

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func TestTheHostsAreExchanged(t *testing.T) {
	for name, test := range map[string]struct{ before, after string }{
		"both": {
			"A=1\nDATABASES_HOST=a\nDATABASES_REPLICA=b\n",
			"A=1\nDATABASES_HOST=b\nDATABASES_REPLICA=a\nDATABASES_EPOCH=1\n",
		},
		"with one Engine, again": {
			"DATABASES_REPLICA_DOCKER=ssh://admin@b\nDATABASES_EPOCH=3\nDATABASES_HOST=a\nDATABASES_REPLICA=b",
			"DATABASES_REPLICA_DOCKER=\nDATABASES_EPOCH=4\nDATABASES_HOST=b\nDATABASES_REPLICA=a\nDATABASES_DOCKER=ssh://admin@b\n",
		},
		"the last one counts": {
			"DATABASES_HOST=old\nDATABASES_HOST=a\nDATABASES_REPLICA=b\n# DATABASES_REPLICA=c\n",
			"DATABASES_HOST=old\nDATABASES_HOST=b\nDATABASES_REPLICA=a\n# DATABASES_REPLICA=c\nDATABASES_EPOCH=1\n",
		},
		"it was done": {"DATABASES_HOST=b\nDATABASES_REPLICA=a\nDATABASES_EPOCH=1\n", "DATABASES_HOST=b\nDATABASES_REPLICA=a\nDATABASES_EPOCH=1\n"},
	} {
		t.Run(name, func(t *testing.T) {
			if got := string(setPrimary([]byte(test.before), "b")); got != test.after {
				t.Errorf("got\n%s\nwant\n%s", got, test.after)
			}
		})
	}
}

func TestAFileKeepsItsModeAndItsLink(t *testing.T) {
	dir := t.TempDir()
	file, link := filepath.Join(dir, "file"), filepath.Join(dir, "link")
	if err := os.WriteFile(file, []byte("old"), 0o640); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(file, link); err != nil {
		t.Fatal(err)
	}
	if err := writeFile(link, []byte("new"), 0o600); err != nil {
		t.Fatal(err)
	}
	info, err := os.Lstat(link)
	if err != nil || info.Mode()&os.ModeSymlink == 0 {
		t.Errorf("the link is %v, %v", info, err)
	}
	info, err = os.Stat(file)
	if err != nil || info.Mode() != 0o640 {
		t.Errorf("the file is %v, %v", info, err)
	}
	if text, _ := os.ReadFile(file); string(text) != "new" {
		t.Errorf("the file has %q", text)
	}
}

// TestWhatAReplicaMayLack when the primary is gone.
func TestWhatAReplicaMayLack(t *testing.T) {
	now := time.Date(2026, 11, 28, 12, 0, 0, 0, time.UTC)
	running := ReplicaState{IsReplica: true, Started: now.Add(-time.Hour)}
	restarted := ReplicaState{IsReplica: true, Started: now.Add(-time.Second)}
	inSync := &DatabaseState{Mode: Synchronous, LastInSync: now, LastUp: now, ReplicaStarted: now.Add(-time.Hour), LagSeconds: 30}
	alone := &DatabaseState{Mode: Alone, LastInSync: now.Add(-20 * time.Minute), LastUp: now.Add(-5 * time.Minute), ReplicaStarted: now.Add(-time.Hour)}
	for name, test := range map[string]struct {
		state    *DatabaseState
		replica  ReplicaState
		discards bool
		want     time.Duration
		why      string
	}{
		"it was in sync":                      {inSync, running, true, 0, ""},
		"it was started again":                {inSync, restarted, true, 31 * time.Second, "started again"},
		"it was started again, and keeps all": {inSync, restarted, false, 0, ""},
		"the primary was alone until its end": {alone, running, true, 15 * time.Minute, "alone since"},
		"both":                                {alone, restarted, true, 15*time.Minute + time.Second, "; the replica was started again"},
	} {
		t.Run(name, func(t *testing.T) {
			if loss, why := lossOf(test.state, test.replica, test.discards); loss != test.want || !strings.Contains(why, test.why) {
				t.Errorf("%s, %q, want %s, %q", loss, why, test.want, test.why)
			}
		})
	}
	for loss, want := range map[time.Duration]time.Duration{0: time.Minute, 61 * time.Second: 2 * time.Minute, 2 * time.Hour: 130 * time.Minute} {
		if got := roundUp(loss); got != want {
			t.Errorf("%s is rounded to %s, want %s", loss, got, want)
		}
	}
}

// TestVisitorsSeeAMaintenancePage during a promotion, and no longer than that; if the edge shows none, there is a warning.
func TestVisitorsSeeAMaintenancePage(t *testing.T) {
	f := newFakes(t)
	f.expectPromoted(t, &Promotion{})
	ran := strings.Join(f.local.ran, "\n")
	on, stopped, opened, off := strings.Index(ran, "maintenance on app"), strings.Index(ran, "stop --timeout 1 db"), strings.Index(ran, "up --detach --no-deps --wait"), strings.Index(ran, "maintenance off app")
	if on < 0 || stopped < on || opened < stopped || off < opened || len(f.local.closed) > 0 {
		t.Errorf("left %q in maintenance, ran\n%s", f.local.closed, ran)
	}
	if strings.Contains(f.out.String(), "warning") {
		t.Errorf("printed\n%s", f.out)
	}

	f = newFakes(t)
	f.local.hasNoPage = true
	f.expectPromoted(t, &Promotion{})
	if !strings.Contains(f.out.String(), "warning: the edge shows no maintenance page: none of the applications") {
		t.Errorf("printed\n%s", f.out)
	}

	f = newFakes(t) // somebody has begun it before
	f.local.closed = []string{"app"}
	f.expectPromoted(t, &Promotion{})
	if len(f.local.closed) != 1 {
		t.Error("the maintenance of somebody else was ended")
	}
}
