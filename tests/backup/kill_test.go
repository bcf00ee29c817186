package backup

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/theworklabs/edge/tests/harness"
)

// TestAKilledBackupLeavesNoSet kills a backup at random times. Every set that is listed then has all of its parts, and is restored.
func TestAKilledBackupLeavesNoSet(t *testing.T) {
	harness.LongOnly(t, "backups")
	start := time.Now()
	stack.mustEdge(t, "backup", "bigcapital", "corteza")
	whole := time.Since(start)
	all := stack.sets(t)
	first := all[len(all)-1].Set // the earlier ones are of other tests
	wanted := harness.Count(t, "EDGE_TEST_KILLS", 2)
	killed := 0
	for tries := 0; killed < wanted; tries++ {
		if tries == 10*wanted {
			t.Fatalf("%d of %d backups were killed; the others took less than the time until the kill", killed, tries)
		}
		after := time.Duration(rand.Int64N(int64(whole)))
		what, kill := "edge", stack.kill
		if tries%4 == 3 {
			what, kill = "restic alone", stack.killRestic
		}
		if kill(t, after, "backup", "bigcapital", "corteza") {
			killed++
			t.Logf("kill %d, of %s, after %.1f s", killed, what, after.Seconds())
		} else if what != "edge" {
			continue // it ran no restic then
		} else {
			whole = after // this one was faster: the machine has less to do than when the first ran
		}
	}
	// The next one removes what they have left, locks included.
	stack.mustEdge(t, "backup", "bigcapital", "corteza")
	out, err := stack.restic(t, "snapshots", "--json", "--tag", "edge-backup")
	if err != nil {
		t.Fatal(err)
	}
	isListed := make(map[string]bool)
	var sets []string
	for _, s := range stack.sets(t) {
		isListed[s.Set+" "+s.App] = true
		if s.Set >= first && !slices.Contains(sets, s.Set) {
			sets = append(sets, s.Set)
		}
	}
	for _, left := range incompleteSets(t, out, isListed) {
		t.Error(left)
	}
	stack.mustEdge(t, "verify", "--data", "100%")
	want := stack.fingerprint(t)
	t.Logf("%d backups were killed; %d sets are listed, of the last ones %v, which are restored", killed, len(isListed), sets)
	for _, set := range sets {
		stack.mustEdge(t, "restore", set)
		if got := stack.fingerprint(t); got != want {
			t.Errorf("the set %s has other data:\n%s\nwant\n%s", set, got, want)
		}
	}
}

// incompleteSets returns what is wrong with the snapshots of a repository: one of a set that is not listed, and a set that has not as many as its manifest says.
func incompleteSets(t *testing.T, snapshots string, isListed map[string]bool) (wrong []string) {
	t.Helper()
	var all []struct{ Tags []string }
	if err := json.Unmarshal([]byte(snapshots), &all); err != nil {
		t.Fatal(err)
	}
	has, should := make(map[string]int), make(map[string]int)
	for _, s := range all {
		values := make(map[string]string)
		for _, tag := range s.Tags {
			name, value, _ := strings.Cut(tag, "=")
			values[name] = value
		}
		if values["set"] == "" {
			continue // logs
		}
		set := values["set"] + " " + values["app"]
		has[set]++
		if parts, err := strconv.Atoi(values["parts"]); err == nil {
			should[set] = parts + 1
		}
	}
	for set, n := range has {
		if !isListed[set] || n != should[set] {
			wrong = append(wrong, fmt.Sprintf("%s: listed %t, %d snapshots, of %d", set, isListed[set], n, should[set]))
		}
	}
	return wrong
}

// TestAKilledRestoreEndsWithOldOrNewData kills a restore at random times, and has the next call finish it. The data is then all old, or all
// new, and everything runs.
func TestAKilledRestoreEndsWithOldOrNewData(t *testing.T) {
	harness.LongOnly(t, "backups")
	newData := stack.fingerprint(t)
	stack.mustEdge(t, "backup", "bigcapital", "corteza")
	if err := stack.mariadb(t.Context(), "INSERT INTO bigcapital_tenant_1.ACCOUNTS_TRANSACTIONS (ACCOUNT_ID, CREDIT) VALUES (1, 5)"); err != nil {
		t.Fatal(err)
	}
	if err := stack.psql(t.Context(), "DELETE FROM compose_record WHERE id % 7 = 0"); err != nil {
		t.Fatal(err)
	}
	stack.project.MustCompose(t, "exec", "-T", "crm", "sh", "-c", "echo changed >/data/compose/1.pdf; mkdir /data/new; touch /data/new/file")
	oldData := stack.fingerprint(t)
	stack.mustEdge(t, "backup", "bigcapital", "corteza") // to come back to it

	start := time.Now()
	set := stack.sets(t)
	target := set[len(set)-4].Set // of the first of the two backups
	stack.mustEdge(t, "restore", target, "bigcapital", "corteza")
	whole := time.Since(start)
	if got := stack.fingerprint(t); got != newData {
		t.Fatalf("the restored data is\n%s\nwant\n%s", got, newData)
	}
	ended := map[string]int{}
	wanted := harness.Count(t, "EDGE_TEST_KILLS", 1)
	killed := 0
	for i := 0; killed < wanted; i++ {
		if i == 10*wanted {
			t.Fatalf("%d of %d restores were killed; the others took less than the time until the kill", killed, i)
		}
		if stack.fingerprint(t) != oldData { // the one before ended with the new data
			stack.mustEdge(t, "restore", set[len(set)-1].Set, "bigcapital", "corteza")
		}
		if got := stack.fingerprint(t); got != oldData {
			t.Fatalf("before the kill, the data is\n%s\nwant\n%s", got, oldData)
		}
		// Seldom, two calls in a row are killed.
		after := time.Duration(rand.Int64N(int64(whole)))
		isKilled := stack.kill(t, after, "restore", target, "bigcapital", "corteza")
		if isKilled {
			killed++
		} else {
			whole = max(after, whole*3/4) // this one was faster
		}
		if isKilled && i%3 == 2 {
			stack.kill(t, time.Duration(rand.Int64N(int64(whole/2))), "restore", target, "bigcapital", "corteza")
		}
		phase := stack.journalPhase(t)
		if phase == "swapping" {
			if ids, err := stack.project.Containers(t.Context(), "crm"); err != nil || len(ids) > 0 {
				t.Errorf("killed in %s, and the application runs: %v", phase, err)
			}
		}
		out := ""
		if phase != "" {
			// It finishes the restore, and if that means to undo it, it restores anew, which is not the question here: it must fail.
			out, _ = stack.edge(t.Context(), "restore", "no-such-set")
		}
		stack.awaitStack(t)
		switch got := stack.fingerprint(t); got {
		case oldData:
			ended["old, killed in "+phase]++
			t.Logf("restore %d, killed: %v, after %.1f s in %q: the old data", i+1, isKilled, after.Seconds(), phase)
		case newData:
			ended["new, killed in "+phase]++
			t.Logf("restore %d, killed: %v, after %.1f s in %q: the new data", i+1, isKilled, after.Seconds(), phase)
		default:
			t.Errorf("killed after %v (%s), the data is\n%s\nold:\n%s\nnew:\n%s\n%s", after, phase, got, oldData, newData, out)
		}
		if left := stack.journalPhase(t); left != "" {
			t.Errorf("the journal is left in %s: %s", left, out)
		}
		stack.expectNothingStaged(t)
	}
	t.Logf("%d restores were killed: %v", killed, ended)
}
