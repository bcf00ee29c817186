package backup

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/theworklabs/edge/tests/harness"
)

// clock writes the time to both databases, ten times a second, until stop is called.
func (s *testStack) clock(t *testing.T) (stop func()) {
	t.Helper()
	s.createClock(t)
	return s.write(t, 100*time.Millisecond, mariadbClock, postgresClock)
}

func mariadbClock(int64) string {
	return "INSERT INTO bigcapital_tenant_1.clock VALUES (UTC_TIMESTAMP(6));\n"
}
func postgresClock(int64) string { return "INSERT INTO clock VALUES (clock_timestamp());\n" }

// clockUntilItFails is a clock whose databases may die.
func (s *testStack) clockUntilItFails(t *testing.T) (stop func()) {
	t.Helper()
	s.createClock(t)
	return s.writeTo(t, 100*time.Millisecond, mariadbClock, postgresClock, func(string, ...any) {})
}

func (s *testStack) createClock(t *testing.T) {
	t.Helper()
	if err := s.mariadb(t.Context(), "CREATE TABLE IF NOT EXISTS bigcapital_tenant_1.clock (at DATETIME(6))"); err != nil {
		t.Fatal(err)
	}
	if err := s.psql(t.Context(), "CREATE TABLE IF NOT EXISTS clock (at timestamptz)"); err != nil {
		t.Fatal(err)
	}
}

// lastTimes returns the last times that the databases have from [testStack.clock].
func (s *testStack) lastTimes(t *testing.T) (mariadb, postgres time.Time) {
	t.Helper()
	parse := func(text string) time.Time {
		at, err := time.Parse("2006-01-02 15:04:05.999999", text)
		if err != nil {
			t.Fatal(err)
		}
		return at
	}
	return parse(s.query(t, "shop-db", "SELECT MAX(at) FROM bigcapital_tenant_1.clock")),
		parse(s.query(t, "crm-db", "SELECT max(at) AT TIME ZONE 'UTC' FROM clock"))
}

// TestARestoreToATimeHasWhatWasDroppedLater: a table is dropped in both databases. A second before, it is still there, with all that was
// written until then, and nothing of what was written later: in both of them.
func TestARestoreToATimeHasWhatWasDroppedLater(t *testing.T) {
	stop := stack.clock(t)
	defer stack.dropClock(t)
	t.Log(stack.mustEdge(t, "backup", "bigcapital", "corteza"))
	if err := stack.mariadb(t.Context(), "CREATE TABLE bigcapital_tenant_1.added (n INT); INSERT INTO bigcapital_tenant_1.added VALUES (1), (2); CREATE USER late@localhost IDENTIFIED BY 'x'"); err != nil {
		t.Fatal(err)
	}
	for range 3 {
		time.Sleep(time.Second)
		t.Log(stack.mustEdge(t, "backup", "logs"))
	}
	time.Sleep(1100 * time.Millisecond)
	dropped := time.Now()
	if err := stack.mariadb(t.Context(), "DROP TABLE bigcapital_tenant_1.ACCOUNTS_TRANSACTIONS, bigcapital_tenant_1.added"); err != nil {
		t.Fatal(err)
	}
	if err := stack.psql(t.Context(), "DROP TABLE compose_record"); err != nil {
		t.Fatal(err)
	}
	time.Sleep(time.Second)
	stop()
	at := dropped.Add(-time.Second).Truncate(time.Second)
	t.Log(stack.mustEdge(t, "restore", "latest", "bigcapital", "corteza", "--at", at.Format(time.DateTime)))
	for service, table := range map[string]string{"shop-db": "bigcapital_tenant_1.ACCOUNTS_TRANSACTIONS", "crm-db": "compose_record"} {
		if got := stack.query(t, service, "SELECT COUNT(*) FROM "+table); got == "" || got == "0" {
			t.Errorf("%s has %q rows", table, got)
		}
	}
	if got := stack.query(t, "shop-db", "SELECT COUNT(*) FROM bigcapital_tenant_1.added"); got != "2" {
		t.Errorf("the table that was added after the set has %s rows", got)
	}
	if got := stack.query(t, "shop-db", "SELECT COUNT(*) FROM mysql.user WHERE User = 'late'"); got != "1" {
		t.Errorf("the user that was added after the set: %s", got)
	}
	mariadb, postgres := stack.lastTimes(t)
	t.Logf("restored to %s; the last writes are of %s and %s", at.UTC().Format(time.TimeOnly), mariadb.Format(time.StampMilli), postgres.Format(time.StampMilli))
	for name, last := range map[string]time.Time{"MariaDB": mariadb, "PostgreSQL": postgres} {
		if !last.Before(at) || at.Sub(last) > time.Second {
			t.Errorf("%s: the last write is of %v, want the second before %v", name, last, at)
		}
	}
	// The databases have other logs now.
	stack.expectStatus(t, 1, []string{"backup", "logs"}, "does not continue the last set: run edge backup")
	stack.mustEdge(t, "backup", "bigcapital", "corteza")
	stack.mustEdge(t, "backup", "logs")
}

func (s *testStack) dropClock(t *testing.T) {
	t.Helper()
	if err := s.mariadb(t.Context(), "DROP TABLE bigcapital_tenant_1.clock; DROP TABLE IF EXISTS bigcapital_tenant_1.added; DROP USER IF EXISTS late@localhost"); err != nil {
		t.Error(err)
	}
	if err := s.psql(t.Context(), "DROP TABLE clock"); err != nil {
		t.Error(err)
	}
}

func TestTimesThatCannotBeRestoredAreErrors(t *testing.T) {
	harness.LongOnly(t, "backups")
	if _, err := stack.edge(t.Context(), "backup", "corteza"); err != nil && !strings.Contains(err.Error(), "exit status 4") { // less data than the set before
		t.Fatal(err)
	}
	now := time.Now()
	for name, c := range map[string]struct{ args, want string }{
		"the future":          {now.Add(time.Hour).Format(time.DateTime), "is in the future"},
		"before the first":    {"2020-01-01 00:00", "there is no set of corteza of a time before 2020-01-01 00:00:00"},
		"no time":             {"soon", `"soon" is not a time`},
		"from a dump":         {now.Format(time.DateTime) + " --logical", "exclude each other"},
		"a set that is later": {fmt.Sprint(now.Add(-24 * time.Hour).Format(time.DateTime)), "there is no set of corteza of a time before"},
	} {
		t.Run(name, func(t *testing.T) {
			at, flag, _ := strings.Cut(c.args, " --")
			args := []string{"restore", "latest", "corteza", "--at", at}
			if flag != "" {
				args = append(args, "--"+flag)
			}
			stack.expectStatus(t, 1, args, c.want)
		})
	}
}
