package backup

import (
	"encoding/json"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"

	"github.com/theworklabs/edge/tests/harness"
)

// snapshot is a snapshot as restic lists it.
type snapshot struct {
	ID   string
	Tags []string
}

// snapshots returns the snapshots with all of the tags, as restic alone lists them, the oldest first.
func (s *testStack) snapshots(t *testing.T, tags string) (all []snapshot) {
	t.Helper()
	out, err := s.restic(t, "snapshots", "--json", "--tag", tags)
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal([]byte(out), &all); err != nil {
		t.Fatal(err)
	}
	return all
}

// replace stores another content in the place of a snapshot's file, with the same tags, and returns the ID of the new snapshot.
func (s *testStack) replace(t *testing.T, old snapshot, file, content string) string {
	t.Helper()
	args := []string{"backup", "--json", "--quiet", "--stdin", "--stdin-filename", file, "--host", "edge"}
	for _, tag := range old.Tags {
		args = append(args, "--tag", tag)
	}
	cmd := exec.CommandContext(t.Context(), "restic", args...)
	cmd.Env = append(os.Environ(), "RESTIC_REPOSITORY="+s.repository, "RESTIC_PASSWORD="+s.recovery)
	cmd.Stdin = strings.NewReader(content)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("restic backup: %v\n%s", err, out)
	}
	if out, err := s.restic(t, "forget", old.ID); err != nil {
		t.Fatalf("restic forget: %v\n%s", err, out)
	}
	all := s.snapshots(t, strings.Join(old.Tags, ","))
	return all[len(all)-1].ID
}

// rawManifest is a manifest, of which a test changes some fields.
type rawManifest map[string]any

// lastManifest returns the snapshot of the latest manifest of an application, and its content.
func (s *testStack) lastManifest(t *testing.T, app string) (snapshot, rawManifest) {
	t.Helper()
	all := s.snapshots(t, "app="+app+",part=manifest.json")
	last := all[len(all)-1]
	out, err := s.restic(t, "dump", last.ID, "/manifest.json")
	if err != nil {
		t.Fatal(err)
	}
	var m rawManifest
	if err := json.Unmarshal([]byte(out), &m); err != nil {
		t.Fatal(err)
	}
	return last, m
}

func (s *testStack) replaceManifest(t *testing.T, old snapshot, m rawManifest) {
	t.Helper()
	text, err := json.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	s.replace(t, old, "manifest.json", string(text))
}

// seededFault is a way in which a set has lost or changed something since its data was counted.
type seededFault struct {
	name    string
	app     string
	damage  string // statements for the application's database
	repair  string // statements that undo them
	shell   string // a command in the container crm, instead
	unshell string
	want    string // part of the error
}

var seededFaults = []seededFault{
	{
		name: "an attachment is lost", app: "corteza", shell: "mv /data/compose/1.pdf /data/compose/other.pdf", unshell: "mv /data/compose/other.pdf /data/compose/1.pdf",
		want: "attachments without a file: 1 rows, not 0",
	},
	{
		name: "a tenant's database is missing", app: "bigcapital", damage: "RENAME TABLE bigcapital_tenant_2.ACCOUNTS_TRANSACTIONS TO bigcapital_system.T1, bigcapital_tenant_2.ACCOUNTS TO bigcapital_system.T2, bigcapital_tenant_2.knex_migrations TO bigcapital_system.T3; DROP DATABASE bigcapital_tenant_2",
		repair: "CREATE DATABASE bigcapital_tenant_2; RENAME TABLE bigcapital_system.T2 TO bigcapital_tenant_2.ACCOUNTS, bigcapital_system.T1 TO bigcapital_tenant_2.ACCOUNTS_TRANSACTIONS, bigcapital_system.T3 TO bigcapital_tenant_2.knex_migrations",
		want:   "the table bigcapital_tenant_2.ACCOUNTS is missing",
	},
	{
		name: "a ledger's sum is altered", app: "bigcapital", damage: "UPDATE bigcapital_tenant_1.ACCOUNTS_TRANSACTIONS SET CREDIT = CREDIT + 1 WHERE ID = 1", repair: "UPDATE bigcapital_tenant_1.ACCOUNTS_TRANSACTIONS SET CREDIT = CREDIT - 1 WHERE ID = 1",
		want: "bigcapital_tenant_1.ACCOUNTS_TRANSACTIONS has rows",
	},
	{
		name: "a row refers to none", app: "bigcapital", damage: "SET foreign_key_checks = 0; UPDATE bigcapital_tenant_3.ACCOUNTS_TRANSACTIONS SET ACCOUNT_ID = 999 WHERE ID = 1", repair: "UPDATE bigcapital_tenant_3.ACCOUNTS_TRANSACTIONS SET ACCOUNT_ID = 1 WHERE ID = 1",
		want: "bigcapital_tenant_3.ACCOUNTS_TRANSACTIONS.ACCOUNT_ID refers to no row of ACCOUNTS",
	},
	{
		name: "a record has no module", app: "corteza", damage: "UPDATE compose_record SET module_id = 77 WHERE id = 5", repair: "UPDATE compose_record SET module_id = 1 WHERE id = 5",
		want: "records without a module: 1 rows, not 0",
	},
	{
		name: "a module has no namespace", app: "corteza", damage: "UPDATE compose_module SET rel_namespace = 9", repair: "UPDATE compose_module SET rel_namespace = 1",
		want: "modules without a namespace: 1 rows, not 0",
	},
	{
		name: "a row of MariaDB is lost", app: "bigcapital", damage: "DELETE FROM bigcapital_system.TENANTS WHERE ID = 3", repair: "INSERT INTO bigcapital_system.TENANTS VALUES (3, '3', NOW())",
		want: "bigcapital_system.TENANTS has 2 rows, not 3",
	},
	{
		name: "a row of PostgreSQL is lost", app: "corteza", damage: "DELETE FROM compose_record WHERE id = 5", repair: "INSERT INTO compose_record VALUES (5, 1, md5('5'))",
		want: "public.compose_record has ",
	},
	{
		name: "a table of PostgreSQL is missing", app: "corteza", damage: "ALTER TABLE compose_attachment RENAME TO gone", repair: "ALTER TABLE gone RENAME TO compose_attachment",
		want: "the table public.compose_attachment is missing",
	},
	{
		name: "a table is new", app: "bigcapital", damage: "CREATE TABLE bigcapital_tenant_1.STRANGE (ID INT)", repair: "DROP TABLE bigcapital_tenant_1.STRANGE",
		want: "the table bigcapital_tenant_1.STRANGE is new",
	},
	{
		name: "a migration is missing", app: "bigcapital", damage: "UPDATE bigcapital_tenant_1.knex_migrations SET name = '20230101_other' WHERE id = 2", repair: "UPDATE bigcapital_tenant_1.knex_migrations SET name = '20240101_last' WHERE id = 2",
		want: "the last is 20230101_other",
	},
}

// TestDrillsCatchSeededFaults forges sets whose data has lost or changed something since it was counted: the manifest is that of sound data.
func TestDrillsCatchSeededFaults(t *testing.T) {
	harness.LongOnly(t, "backups")
	faults := seededFaults[:harness.Count(t, "EDGE_TEST_FAULTS", 1)]
	sound := make(map[string]rawManifest)
	for _, app := range []string{"bigcapital", "corteza"} {
		stack.mustEdge(t, "backup", app)
		_, sound[app] = stack.lastManifest(t, app)
	}
	caught := 0
	for _, f := range faults {
		change := func(sql, shell string) {
			switch {
			case shell != "":
				stack.project.MustCompose(t, "exec", "-T", "crm", "sh", "-c", shell)
			case f.app == "bigcapital":
				if err := stack.mariadb(t.Context(), sql); err != nil {
					t.Fatal(err)
				}
			default:
				if err := stack.psql(t.Context(), sql); err != nil {
					t.Fatal(err)
				}
			}
		}
		change(f.damage, f.shell)
		stack.mustEdge(t, "backup", f.app)
		change(f.repair, f.unshell)
		last, m := stack.lastManifest(t, f.app)
		for i, d := range m["databases"].([]any) {
			database, before := d.(map[string]any), sound[f.app]["databases"].([]any)[i].(map[string]any)
			for _, field := range []string{"tables", "sums", "migrations", "inconsistencies"} {
				database[field] = before[field]
			}
		}
		stack.replaceManifest(t, last, m)
		result, err := stack.drill(t, m["set"].(string))
		if err == nil || !strings.Contains(result.Error, f.want) {
			t.Errorf("%s: got %v, %q, want %q", f.name, err, result.Error, f.want)
			continue
		}
		caught++
		t.Logf("%s: %s", f.name, result.Error)
	}
	all := len(faults) + 1
	caught += stack.drillTruncatedDump(t)
	t.Logf("%d of %d faults are caught", caught, all)
	if caught != all {
		t.Error("some are not caught")
	}
	for _, app := range []string{"bigcapital", "corteza"} { // the forged sets are not for other tests
		stack.mustEdge(t, "backup", app)
	}
}

// drillTruncatedDump forges a set whose dump is cut off, and returns 1 if a drill catches it.
func (s *testStack) drillTruncatedDump(t *testing.T) int {
	t.Helper()
	s.mustEdge(t, "backup", "corteza")
	last, m := s.lastManifest(t, "corteza")
	set := m["set"].(string)
	const name = "crm-db-corteza.pgdump"
	part := s.snapshots(t, "set="+set+",part="+name)[0]
	dump, err := s.restic(t, "dump", part.ID, "/"+name)
	if err != nil {
		t.Fatal(err)
	}
	id := s.replace(t, part, name, dump[:len(dump)/2])
	parts := m["parts"].([]any)
	i := slices.IndexFunc(parts, func(p any) bool { return p.(map[string]any)["name"] == name })
	parts[i].(map[string]any)["snapshot"] = id
	s.replaceManifest(t, last, m)
	result, err := s.drill(t, set, "--logical")
	if err == nil || !strings.Contains(result.Error, "stage crm-db") {
		t.Errorf("a truncated dump: got %v, %q", err, result.Error)
		return 0
	}
	t.Logf("a truncated dump: %s", result.Error)
	return 1
}
