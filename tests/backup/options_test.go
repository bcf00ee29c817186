package backup

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/theworklabs/edge/tests/harness"
)

// TestServersWithoutTheOptionsOfOurComposeFile: MariaDB writes no log, and PostgreSQL one that is not logical. The sets say so, and are restored; PostgreSQL to a time, too, since
// its log has what that needs.
func TestServersWithoutTheOptionsOfOurComposeFile(t *testing.T) {
	harness.LongOnly(t, "backups")
	file := filepath.Join(stack.dir, "compose.yaml")
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	restart := func(text string) {
		t.Helper()
		if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		stack.project.MustCompose(t, "up", "--detach", "--wait")
	}
	without := strings.NewReplacer(`"--log-bin=binlog", `, "", `wal_level=logical`, `wal_level=replica`).Replace(string(text))
	if strings.Contains(without, "log-bin") || strings.Contains(without, "logical") {
		t.Fatal("the compose file has other options")
	}
	restart(without)
	defer stack.mustEdge(t, "backup", "bigcapital", "corteza") // the logs of the others continue it
	defer restart(string(text))

	wanted := stack.fingerprint(t)
	stack.mustEdge(t, "backup", "bigcapital", "corteza")
	for _, app := range []string{"bigcapital", "corteza"} {
		for _, d := range stack.loadManifest(t, app).Databases {
			if d.SameInstant || len(d.Tables) == 0 {
				t.Errorf("%s: same instant: %t, %d tables are counted", d.Service, d.SameInstant, len(d.Tables))
			}
		}
	}
	if err := stack.psql(t.Context(), "CREATE TABLE added (n INT); INSERT INTO added VALUES (1), (2)"); err != nil {
		t.Fatal(err)
	}
	time.Sleep(2 * time.Second)
	at := time.Now().Truncate(time.Second)
	if err := stack.psql(t.Context(), "DROP TABLE added; DELETE FROM compose_record"); err != nil {
		t.Fatal(err)
	}
	if err := stack.mariadb(t.Context(), "DELETE FROM bigcapital_tenant_1.ACCOUNTS_TRANSACTIONS"); err != nil {
		t.Fatal(err)
	}
	t.Log(stack.mustEdge(t, "restore", "latest", "corteza", "--at", at.Format(time.DateTime)))
	if got := stack.query(t, "crm-db", "SELECT count(*) FROM added"); got != "2" {
		t.Errorf("the table that was added after the set has %s rows", got)
	}
	stack.expectStatus(t, 1, []string{"restore", "latest", "bigcapital", "--at", at.Format(time.DateTime)}, "wrote no log when it was stored")
	stack.mustEdge(t, "restore", "latest", "bigcapital")
	stack.mustEdge(t, "restore", "latest", "corteza")
	if got := stack.fingerprint(t); got != wanted {
		t.Errorf("the data is\n%s\nwant\n%s", got, wanted)
	}
}
