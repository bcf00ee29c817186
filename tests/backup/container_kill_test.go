package backup

import (
	"bufio"
	"strings"
	"testing"

	"github.com/theworklabs/edge/tests/harness"
)

// TestAContainerThatDiesInABackupLeavesNoSet: the container of a database is killed while its data is read. The backup fails, and says which service it was.
func TestAContainerThatDiesInABackupLeavesNoSet(t *testing.T) {
	harness.LongOnly(t, "backups")
	for _, c := range []struct {
		app, service string
		before       int // how many lines are printed before it is killed
	}{
		{"bigcapital", "shop-db", 0},
		{"bigcapital", "shop-db", 1},
		{"bigcapital", "shop-db", 2},
		{"corteza", "crm-db", 0},
		{"corteza", "crm-db", 1},
		{"corteza", "crm-db", 2},
	} {
		sets := len(stack.sets(t))
		cmd := stack.command(t.Context(), "backup", c.app)
		var stderr strings.Builder
		cmd.Stderr = &stderr
		output, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		container, err := stack.project.Container(t.Context(), c.service)
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		lines := bufio.NewScanner(output)
		if c.before == 0 {
			harness.Eventually(t, "the backup reads data", func() bool {
				return strings.Contains(harness.MustDocker(t, "top", container), "edge-backup: complete")
			})
		}
		for range c.before {
			if !lines.Scan() {
				t.Fatalf("the backup of %s ends early: %s", c.app, stderr.String())
			}
		}
		harness.MustDocker(t, "kill", container)
		for lines.Scan() {
		}
		if err := cmd.Wait(); err == nil || !strings.Contains(stderr.String(), c.service) {
			t.Errorf("%s is killed after %d parts: %v\n%s", c.service, c.before, err, stderr.String())
		}
		t.Logf("%s is killed after %d parts: %s", c.service, c.before, stderr.String())
		if got := len(stack.sets(t)); got != sets {
			t.Errorf("%d sets are listed, %d before", got, sets)
		}
		harness.MustDocker(t, "start", container)
		stack.awaitStack(t)
		stack.mustEdge(t, "backup", c.app)
	}
}
