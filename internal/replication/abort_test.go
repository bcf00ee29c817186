package replication

import (
	"os"
	"strings"
	"testing"
	"time"
)

func TestAPromotionIsGivenUp(t *testing.T) {
	f := newFakes(t)
	p := &Promotion{Stack: f.stack, Abort: true, Timeout: time.Second}
	if err := p.Run(t.Context()); err == nil || !strings.Contains(err.Error(), "no promotion is unfinished") {
		t.Errorf("without a promotion: %v", err)
	}
	begun := &promotionJournal{From: "a", To: "b", Closed: []string{"app"}, Promoted: []string{"mariadb"}}
	if err := p.writeJournal(begun); err != nil {
		t.Fatal(err)
	}
	f.mariadb.replica = ReplicaState{IsWritable: true}
	if err := p.Run(t.Context()); err == nil || !strings.Contains(err.Error(), "has begun to be the primary") || len(f.local.ran) > 0 {
		t.Errorf("after the point of no return: %v, ran %q", err, f.local.ran)
	}
	f.mariadb.replicaErr = errDown // its machine has failed, too; no application has written there
	f.hosts["a"].running = nil     // stopped by the promotion
	f.mariadb.primary.IsReadOnly, f.postgres.primary.IsReadOnly = true, true
	if err := p.Run(t.Context()); err != nil {
		t.Fatal(err)
	}
	if f.mariadb.primary.IsReadOnly || f.postgres.primary.IsReadOnly {
		t.Error("the applications are open, and a database takes no writes")
	}
	ran := strings.Join(f.local.ran, "\n")
	if !strings.Contains(ran, "up --detach --no-deps replication db") || !strings.Contains(ran, "edge maintenance off app") {
		t.Errorf("ran\n%s", ran)
	}
	if got := strings.Join(f.hosts["a"].running, " "); got != "corteza-db bigcapital-mysql databases" {
		t.Errorf("on the old primary's host run %q", got)
	}
	if journal, err := p.readJournal(); journal != nil || err != nil {
		t.Errorf("the journal is still there: %+v, %v", journal, err)
	}
	if !strings.Contains(f.out.String(), "keep its databases off until edge replica rejoin --overwrite") {
		t.Errorf("printed\n%s", f.out)
	}
}

// TestAPromotionIsNotGivenUpForNothing: the applications would be open without a database.
func TestAPromotionIsNotGivenUpForNothing(t *testing.T) {
	f := newFakes(t)
	p := &Promotion{Stack: f.stack, Abort: true, Timeout: time.Second}
	if err := p.load(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := p.writeJournal(&promotionJournal{From: "a", To: "b", Closed: []string{"app"}}); err != nil {
		t.Fatal(err)
	}
	f.hosts["a"].isDown, f.postgres.primaryErr = true, errDown
	err := p.Run(t.Context())
	if err == nil || !strings.Contains(err.Error(), "the databases on a cannot be started") {
		t.Errorf("got %v", err)
	}
	if journal, err := p.readJournal(); journal == nil || err != nil || len(f.local.ran) > 0 {
		t.Errorf("the journal is %+v, %v; ran %q", journal, err, f.local.ran)
	}
}

// TestAnEnvironmentFileThatComposeDoesNotUse is noticed before anything is closed.
func TestAnEnvironmentFileThatComposeDoesNotUse(t *testing.T) {
	f := newFakes(t)
	stack, d := &f.stack, f.local
	d.ignoresFile = true
	if err := stack.load(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := stack.checkSwap(t.Context()); err == nil || !strings.Contains(err.Error(), "do not come from") {
		t.Errorf("got %v", err)
	}
	left, err := os.ReadDir(stack.Project.Directory)
	if err != nil || len(left) != 3 || len(d.ran) > 0 {
		t.Errorf("left %v, %v, ran %q", left, err, d.ran)
	}
}
