package backup

import (
	"strings"
	"testing"
)

const dump = "-- MariaDB dump\n/*!40101 SET NAMES utf8mb4 */;\n" +
	"-- Current Database: `system`\nCREATE DATABASE `system`;\nUSE `system`;\nINSERT INTO a VALUES (1);\n" +
	"-- Current Database: `tenant_1`\nCREATE DATABASE /*!32312 IF NOT EXISTS*/ `tenant_1` /*!40100 DEFAULT CHARACTER SET latin1 COLLATE latin1_bin */;\nUSE `tenant_1`;\nCREATE TABLE b (n int);\nINSERT INTO b VALUES ('LONG');\n" +
	"-- Current Database: `tenant_10`\nCREATE DATABASE `tenant_10`;\nUSE `tenant_10`;\nINSERT INTO c VALUES (1);\n"

func TestOneDatabaseIsCopiedFromADump(t *testing.T) {
	// A line that is longer than any buffer, with what looks like the beginning of a line.
	long := strings.Repeat("x", 1<<20-20) + "-- Current Database: `system`" + strings.Repeat("USE `", 1<<19)
	text := strings.Replace(dump, "LONG", long, 1)
	var out strings.Builder
	if charset, err := filterDump(&out, strings.NewReader(text), "tenant_1"); err != nil || charset != "CHARACTER SET latin1 COLLATE latin1_bin" {
		t.Fatal(charset, err)
	}
	want := "-- MariaDB dump\n/*!40101 SET NAMES utf8mb4 */;\n-- Current Database: `tenant_1`\nCREATE TABLE b (n int);\nINSERT INTO b VALUES ('" + long + "');\n"
	if out.String() != want {
		t.Errorf("got %d bytes, want %d: %.300s", out.Len(), len(want), out.String())
	}
	if _, err := filterDump(&out, strings.NewReader(text), "tenant_2"); err == nil || !strings.Contains(err.Error(), "no database tenant_2") {
		t.Errorf("got %v", err)
	}
}

func TestNamesAndTextsAreQuoted(t *testing.T) {
	if got := quoteName("a`b"); got != "`a``b`" {
		t.Error(got)
	}
	if got := quoteText(`it's a \`); got != `'it''s a \\'` {
		t.Error(got)
	}
}
