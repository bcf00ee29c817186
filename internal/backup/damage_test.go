package backup

import (
	"strings"
	"testing"

	"github.com/theworklabs/edge/internal/compose"
)

func TestDamageIsFoundInWhatTheCheckPrints(t *testing.T) {
	const mariadb = `bigcapital_tenant_1.ACCOUNTS
Warning  : InnoDB: Index x is marked as corrupted
error    : Corrupt
mysql.general_log
note     : The storage engine for the table doesn't support check
`
	got := strings.Join(damageLines(mariadb, MariaDB), "\n")
	if got != "bigcapital_tenant_1.ACCOUNTS Warning  : InnoDB: Index x is marked as corrupted\nbigcapital_tenant_1.ACCOUNTS error    : Corrupt" {
		t.Errorf("MariaDB: got %q", got)
	}
	if got := damageLines("", Postgres); len(got) > 0 {
		t.Errorf("PostgreSQL: got %q", got)
	}
	c := &container{compose.Container{ID: "x"}, &versionDocker{text: noAmcheck + "\n"}, "db"}
	if damaged, note, err := findDamage(t.Context(), c, Postgres); err != nil || len(damaged) > 0 || note != noAmcheck {
		t.Errorf("without pg_amcheck: got %q, note %q, %v", damaged, note, err)
	}
	if got := damageLines("heap table \"corteza.public.compose_record\", block 3:\n    xmin 7 is out of range\n", Postgres); len(got) != 2 {
		t.Errorf("PostgreSQL: got %q", got)
	}
}

func TestDocumentsInTheBucketAreCounted(t *testing.T) {
	d := &Database{Tables: map[string]int64{"bigcapital_tenant_1.DOCUMENTS": 3, "bigcapital_tenant_2.documents": 4, "bigcapital_system.DOCUMENTS": 5, "bigcapital_tenant_1.ITEMS": 6}}
	if got := countDocuments(d); got != 7 {
		t.Errorf("got %d", got)
	}
}
