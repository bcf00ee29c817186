package backup

import (
	"strings"
	"testing"

	"github.com/theworklabs/edge/tests/harness"
)

// TestOneTenantIsRestoredWhileTheOthersGoOn: its tables are those of the set, with their foreign keys. The other tenants keep what was written
// later, and no container stops.
func TestOneTenantIsRestoredWhileTheOthersGoOn(t *testing.T) {
	harness.LongOnly(t, "backups")
	stack.mustEdge(t, "backup", "bigcapital")
	const sum = "SELECT COUNT(*), SUM(CREDIT), MAX(ID) FROM bigcapital_tenant_%.ACCOUNTS_TRANSACTIONS"
	ofTenant := func(id string) string { return stack.query(t, "shop-db", strings.Replace(sum, "%", id, 1)) }
	wanted := ofTenant("2")
	if err := stack.mariadb(t.Context(), `INSERT INTO bigcapital_tenant_1.ACCOUNTS_TRANSACTIONS (ACCOUNT_ID, CREDIT) VALUES (1, 5);
DELETE FROM bigcapital_tenant_2.ACCOUNTS_TRANSACTIONS; CREATE TABLE bigcapital_tenant_2.later (n INT);
CREATE DATABASE edge_restore_leftover;`); err != nil {
		t.Fatal(err)
	}
	other := ofTenant("1")
	started := stack.startTimes(t)
	out := stack.mustEdge(t, "restore", "latest", "--tenant", "2")
	t.Log(out)
	if got := ofTenant("2"); got != wanted {
		t.Errorf("the tenant has %s, want %s", got, wanted)
	}
	if got := ofTenant("1"); got != other {
		t.Errorf("another tenant has %s, had %s", got, other)
	}
	if got := stack.startTimes(t); got != started {
		t.Errorf("a container was restarted:\n%s\nbefore:\n%s", got, started)
	}
	if got := stack.query(t, "shop-db", "SHOW DATABASES LIKE 'edge\\_%'"); got != "" {
		t.Errorf("left: %s", got)
	}
	if got := stack.query(t, "shop-db", "SHOW TABLES FROM bigcapital_tenant_2 LIKE 'later'"); got != "" {
		t.Error("a later table is still there")
	}
	foreignKey := stack.query(t, "shop-db", "SELECT REFERENCED_TABLE_SCHEMA, REFERENCED_TABLE_NAME FROM information_schema.KEY_COLUMN_USAGE WHERE TABLE_SCHEMA = 'bigcapital_tenant_2' AND REFERENCED_TABLE_NAME IS NOT NULL")
	if foreignKey != "bigcapital_tenant_2\tACCOUNTS" {
		t.Errorf("the foreign key refers to %q", foreignKey)
	}
	if err := stack.mariadb(t.Context(), "INSERT INTO bigcapital_tenant_2.ACCOUNTS_TRANSACTIONS (ACCOUNT_ID, CREDIT) VALUES (99, 1)"); err == nil {
		t.Error("the foreign key is not enforced")
	}

	// Its database was dropped altogether.
	if err := stack.mariadb(t.Context(), "DROP DATABASE bigcapital_tenant_2"); err != nil {
		t.Fatal(err)
	}
	stack.mustEdge(t, "restore", "latest", "bigcapital", "--tenant", "bigcapital_tenant_2")
	if got := ofTenant("2"); got != wanted {
		t.Errorf("the tenant has %s, want %s", got, wanted)
	}

	// A value that takes more bytes in the dump than the server takes at once.
	if err := stack.mariadb(t.Context(), "CREATE TABLE bigcapital_tenant_2.files (content LONGBLOB); INSERT INTO bigcapital_tenant_2.files SELECT REPEAT(UNHEX('00'), 12000000);"); err != nil {
		t.Fatal(err)
	}
	stack.mustEdge(t, "backup", "bigcapital")
	limit := stack.query(t, "shop-db", "SELECT @@GLOBAL.max_allowed_packet")
	stack.mustEdge(t, "restore", "latest", "bigcapital", "--tenant", "2")
	if got := stack.query(t, "shop-db", "SELECT LENGTH(content) FROM bigcapital_tenant_2.files"); got != "12000000" {
		t.Errorf("the value has %s bytes", got)
	}
	if got := stack.query(t, "shop-db", "SELECT @@GLOBAL.max_allowed_packet"); got != limit {
		t.Errorf("max_allowed_packet is %s, was %s", got, limit)
	}
	if err := stack.mariadb(t.Context(), "DROP TABLE bigcapital_tenant_2.files"); err != nil {
		t.Fatal(err)
	}
	wanted = ofTenant("2")
	stack.expectStatus(t, 4, []string{"backup", "bigcapital"}, "much less data than the one before") // so that no backup of a later test is

	stack.expectStatus(t, 1, []string{"restore", "latest", "--tenant", "77"}, `no database of the tenant "77"`, "ORGANIZATION_ID")
	stack.expectStatus(t, 1, []string{"restore", "latest", "--tenant", "2", "--at", "00:00"}, "exclude each other")
	if err := stack.mariadb(t.Context(), "CREATE VIEW bigcapital_tenant_2.v AS SELECT 1"); err != nil {
		t.Fatal(err)
	}
	stack.expectStatus(t, 1, []string{"restore", "latest", "--tenant", "2"}, "has views", "restore all of the application")
	if err := stack.mariadb(t.Context(), "DROP VIEW bigcapital_tenant_2.v"); err != nil {
		t.Fatal(err)
	}
	if got := ofTenant("2"); got != wanted {
		t.Errorf("after a refused restore, the tenant has %s, want %s", got, wanted)
	}
}

// startTimes returns when each container was started.
func (s *testStack) startTimes(t *testing.T) string {
	t.Helper()
	var times strings.Builder
	for _, service := range []string{"shop-db", "shop-redis", "crm-db", "crm", "edge"} {
		id, err := s.project.Container(t.Context(), service)
		if err != nil {
			t.Fatal(err)
		}
		times.WriteString(service + " " + dockerInspect(t, id, "{{.State.StartedAt}}") + "\n")
	}
	return times.String()
}
