package backup

import (
	"context"
	"strings"
)

// findDamage has a database check the structure of all of its tables and indexes, which reads all data. It is for drills: it takes long, and
// PostgreSQL needs an extension for it. note says why it was not done.
func findDamage(ctx context.Context, c *container, kind Kind) (problems []string, note string, err error) {
	script := mariadbLogin + `$(find_program mariadb-check mysqlcheck) --user=root --all-databases --check --silent 2>&1`
	if kind == Postgres {
		// It exits with 2 if it has found damage. To install the extension is a commit, which must not wait for a replica.
		script = postgresLogin + `
command -v pg_amcheck >/dev/null || { echo '` + noAmcheck + `'; exit 0; }
PGOPTIONS='-c synchronous_commit=local' pg_amcheck --all --install-missing --heapallindexed 2>&1 || [ $? -eq 2 ]`
	}
	var out strings.Builder
	if _, err := c.run(ctx, nil, &out, script); err != nil {
		return nil, "", err
	}
	if strings.TrimSpace(out.String()) == noAmcheck {
		return nil, noAmcheck, nil
	}
	return damageLines(out.String(), kind), "", nil
}

const noAmcheck = "the image has no pg_amcheck: the structure of tables and indexes is not checked"

// damageLines returns the lines of a check that tell of damage. mariadb-check prints the name of a table, and then what it has found; log
// tables and views have notes that are none.
func damageLines(output string, kind Kind) (problems []string) {
	table := ""
	for line := range strings.Lines(output) {
		line = strings.TrimSpace(line)
		switch {
		case line == "":
		case kind == Postgres:
			problems = append(problems, line)
		case strings.HasPrefix(line, "note") || strings.HasPrefix(line, "status"):
		case strings.HasPrefix(line, "error") || strings.HasPrefix(strings.ToLower(line), "warning") || strings.EqualFold(line, "corrupt"):
			problems = append(problems, strings.TrimSpace(table+" "+line))
		default:
			table = line
		}
	}
	return problems
}
