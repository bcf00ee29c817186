package backup

import (
	"fmt"
	"strings"
	"testing"

	"github.com/theworklabs/edge/tests/harness"
)

// setDefaultRate limits backups and drills as for a user.
func setDefaultRate(t *testing.T) {
	t.Helper()
	t.Setenv("EDGE_TEST_MAX_RATE", "10MB")
}

// TestBackupsUnderWritesAreRestoredExactly stores sets while clients write, and restores each of them: every table has as many rows as the
// manifest says, which counted them in the snapshot of the dump, although it is the physical copy that is restored.
func TestBackupsUnderWritesAreRestoredExactly(t *testing.T) {
	setDefaultRate(t)
	for i := range harness.Count(t, "EDGE_TEST_BACKUPS", 1) {
		stop := stack.writeAll(t)
		out := stack.mustEdge(t, "backup")
		mariadb, postgres := stop()
		t.Logf("backup %d, while %d and %d transactions were written:\n%s", i+1, mariadb, postgres, out)
		if mariadb < 100 || postgres < 100 {
			t.Errorf("%d and %d transactions: too few to show anything", mariadb, postgres)
		}
		var before [2]string
		for j, app := range []string{"bigcapital", "corteza"} {
			before[j] = fmt.Sprint(stack.loadManifest(t, app).Databases)
		}
		// What is written later must be gone.
		if err := stack.mariadb(t.Context(), "CREATE DATABASE bigcapital_tenant_late; DROP DATABASE bigcapital_tenant_2;"); err != nil {
			t.Fatal(err)
		}
		if err := stack.psql(t.Context(), "DROP TABLE compose_record; CREATE TABLE late (id int);"); err != nil {
			t.Fatal(err)
		}
		stack.project.MustCompose(t, "exec", "-T", "crm", "sh", "-c", "rm /data/compose/1.pdf /data/uploads/2.png; touch /data/late /data/uploads/late")
		t.Log(stack.mustEdge(t, "restore", "latest"))
		for _, app := range []string{"bigcapital", "corteza"} {
			for _, d := range stack.loadManifest(t, app).Databases {
				if !d.SameInstant {
					t.Errorf("%s: the physical copy is not of the instant of the dump", d.Service)
				}
				if len(d.Tables) < 3 {
					t.Errorf("%s: the manifest has the tables %v", d.Service, d.Tables)
				}
				for table, want := range d.Tables {
					if got := stack.query(t, d.Service, "SELECT COUNT(*) FROM "+table); got != fmt.Sprint(want) {
						t.Errorf("%s: %s has %s rows, the manifest %d", d.Service, table, got, want)
					}
				}
			}
		}
		if got := stack.query(t, "shop-db", "SHOW DATABASES LIKE 'bigcapital_tenant_late'"); got != "" {
			t.Errorf("the database %s is still there", got)
		}
		if got := strings.TrimSpace(stack.project.MustCompose(t, "exec", "-T", "crm", "find", "/data", "-type", "f")); got != "/data/compose/1.pdf\n/data/uploads/2.png" && got != "/data/uploads/2.png\n/data/compose/1.pdf" {
			t.Errorf("files: %s", got)
		}
	}
}
