package backup

import (
	"context"
	"fmt"
	"io"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/theworklabs/edge/internal/dblog"
	"github.com/theworklabs/edge/internal/hint"
)

// mariadbLogin sets the password of root from the variables of the official image. The client programs read MYSQL_PWD, so that the
// password is not an argument, which other users could see.
const mariadbLogin = `
for name in MARIADB_ROOT_PASSWORD MYSQL_ROOT_PASSWORD; do
	eval "value=\${$name:-} file=\${${name}_FILE:-}"
	[ -z "$file" ] || value=$(cat "$file")
	[ -z "$value" ] || export MYSQL_PWD="$value"
done
find_program() { for name in "$@"; do if command -v "$name" >/dev/null; then echo "$name"; return; fi; done; echo "the container lacks $1" >&2; exit 1; }
`

// mariadbSchemas selects the databases of applications.
const mariadbSchemas = `SCHEMA_NAME NOT IN ('information_schema', 'performance_schema', 'sys', 'mysql')`

// binlogPosition matches a position as mariadb-backup reports it, and as a dump has it in a comment.
var (
	physicalPosition = regexp.MustCompile(`MySQL binlog position: filename '([^']*)', position '(\d+)'`)
	dumpPosition     = regexp.MustCompile(`MASTER_LOG_FILE='([^']*)', MASTER_LOG_POS=(\d+)`)
)

// ignoredAccount matches the error of mariadb-dump about an account of a host by name, if the server has skip-name-resolve.
var ignoredAccount = regexp.MustCompile(`SHOW CREATE USER ('[^']*'@'[^']*')': Can't find any matching row`)

// backUpMariaDB stores a physical copy, the accounts, and a dump of all databases at one instant, with the log between the two. With
// the log, the physical copy can be rolled forward to the dump's instant.
func (b *appBackup) backUpMariaDB(ctx context.Context, source Source) error {
	c, err := b.container(ctx, source.Service)
	if err != nil {
		return err
	}
	part := func(name, format string) Part {
		return Part{Name: source.Service + "-" + name, Service: source.Service, Kind: MariaDB, Format: format}
	}
	var directory strings.Builder
	// The set has the log's files from their beginning. A new file has no more than what is written during the backup.
	limited, cancel := context.WithTimeoutCause(ctx, lockTimeout, fmt.Errorf("%s has not begun a new log within %v", source.Service, lockTimeout))
	defer cancel()
	if _, err := c.run(limited, nil, &directory, mariadbLogin+`
query() { `+mariadbClient+` --batch --skip-column-names --execute "$1"; }
query 'SELECT @@datadir'
[ "$(query 'SELECT @@log_bin')" = 0 ] || query 'FLUSH BINARY LOGS'`); err != nil {
		return err
	}
	physicalPart := part("physical.mbstream", FormatMbstream)
	physicalPart.Path = strings.TrimSuffix(strings.TrimSpace(directory.String()), "/")
	stderr, err := b.saveScript(ctx, c, physicalPart, mariadbLogin+`
directory=$(mktemp -d)
trap 'rm -rf "$directory"' EXIT
$(find_program mariadb-backup mariabackup) --backup --stream=mbstream --user=root --target-dir="$directory"`)
	if err != nil {
		return err
	}
	physical := physicalPosition.FindStringSubmatch(stderr)

	if _, err := b.saveScript(ctx, c, part("accounts.sql", FormatSQL), mariadbLogin+`
$(find_program mariadb-dump mysqldump) --user=root --system=users --replace; echo '-- Dump completed'`); err != nil {
		if ignored := ignoredAccount.FindStringSubmatch(err.Error()); ignored != nil {
			err = hint.New(err, "the server ignores this account, since it resolves no names (skip-name-resolve): DROP USER "+ignored[1])
		}
		return err
	}
	database, position, err := b.dumpMariaDB(ctx, c, part("dump.sql", FormatSQL))
	if err != nil {
		return err
	}
	if physical != nil && position != nil {
		// The server goes on writing to the last file.
		script := fmt.Sprintf(`
first=%s last=%s size=%s
copy=$(mktemp -d)
trap 'rm -rf "$copy"' EXIT
cd "$(dirname "$(%s --batch --skip-column-names --execute 'SELECT @@log_bin_basename')")"
for file in $(ls | sed -n '/\.[0-9]*$/p' | sort | awk -v first="$first" -v last="$last" '$0 >= first && $0 < last'); do cp "$file" "$copy"; done
head -c "$size" "$last" >"$copy/$last"
tar -C "$copy" -cf - .`,
			physical[1], position[1], position[2], mariadbClient)
		if _, err := b.saveScript(ctx, c, part("binlog.tar", FormatBinlog), mariadbLogin+script); err != nil {
			return err
		}
		database.Position, database.PhysicalPosition = position[1]+":"+position[2], physical[1]+":"+physical[2]
		database.SameInstant = true
		offset, err := strconv.ParseInt(position[2], 10, 64)
		if err != nil {
			return err
		}
		if log, err := readMariaDBLog(ctx, c); err != nil {
			b.manifest.Warnings = append(b.manifest.Warnings, fmt.Sprintf("the set cannot be rolled forward: %v", err))
		} else if database.Span, err = log.markedSpan(ctx, dblog.Position{File: position[1], Offset: offset}); err != nil {
			return err
		}
	}
	if n := countDocuments(database); n > 0 {
		b.manifest.Warnings = append(b.manifest.Warnings, fmt.Sprintf("%s has %d documents, whose files are in BigCapital's S3 bucket: they are not part of the backup", source.Service, n))
	}
	b.manifest.Databases = append(b.manifest.Databases, *database)
	return nil
}

// countDocuments returns how many attachments BigCapital has in all of its organizations. Their files are in an S3 bucket.
func countDocuments(d *Database) (total int64) {
	for name, rows := range d.Tables {
		if schema, table, _ := strings.Cut(name, "."); strings.EqualFold(table, "documents") && strings.Contains(schema, "_tenant_") {
			total += rows
		}
	}
	return total
}

// mariadbClient runs the client program.
const mariadbClient = `"$(find_program mariadb mysql)" --user=root --unbuffered`

// dumpAttempts is how often a dump is begun before it is given up that its snapshot is that of the counts.
const dumpAttempts = 5

// dumpMariaDB stores a dump of all databases, and counts what is in the snapshot of the same instant. position is nil if the server has
// no binary log.
func (b *appBackup) dumpMariaDB(ctx context.Context, c *container, part Part) (database *Database, position []string, err error) {
	for attempt := range dumpAttempts {
		database, position, err = b.tryDumpMariaDB(ctx, c, part)
		if err != errOtherInstant {
			return database, position, err
		}
		b.progress.printLine("%s: the dump and the counts have different snapshots; starting again (%d of %d)", part.Service, attempt+1, dumpAttempts)
	}
	return nil, nil, fmt.Errorf("back up %s: %w in %d attempts", part.Name, err, dumpAttempts)
}

// errOtherInstant says that two snapshots are not of the same instant.
var errOtherInstant = fmt.Errorf("the dump has another snapshot than the counts")

// commitBlockTimeout bounds the time for which commits wait, and the wait for changes of tables that are under way.
const commitBlockTimeout = 5 * time.Second

// tryDumpMariaDB stores one dump. It keeps transactions from committing until the dump and the session that counts have their snapshots:
// some hundred milliseconds.
func (b *appBackup) tryDumpMariaDB(ctx context.Context, c *container, part Part) (*Database, []string, error) {
	open := func() (*client, error) {
		return c.openClient(ctx, mariadbLogin+mariadbClient+" --batch --skip-column-names", "SELECT '"+endLine+"';")
	}
	counting, err := open()
	if err != nil {
		return nil, nil, err
	}
	defer counting.close()
	blocking, err := open()
	if err != nil {
		return nil, nil, err
	}
	defer blocking.close()

	for _, statement := range []string{
		fmt.Sprintf("SET lock_wait_timeout = %d;", int(commitBlockTimeout.Seconds())),
		"BACKUP STAGE START;", "BACKUP STAGE BLOCK_COMMIT;",
	} {
		if _, err := blocking.query(statement); err != nil {
			return nil, nil, fmt.Errorf("keep transactions from committing for an instant: %w", err)
		}
	}
	release := func() { _ = blocking.close() } // the end of the session releases its locks
	unblock := time.AfterFunc(commitBlockTimeout, release)
	defer unblock.Stop()

	if _, err := counting.query(fmt.Sprintf("SET lock_wait_timeout = %d; SET SESSION TRANSACTION ISOLATION LEVEL REPEATABLE READ;", int(lockTimeout.Seconds()))); err != nil {
		return nil, nil, err
	}
	if _, err := counting.query("START TRANSACTION WITH CONSISTENT SNAPSHOT, READ ONLY;"); err != nil {
		return nil, nil, err
	}
	countedAt, err := snapshotPosition(counting)
	if err != nil {
		return nil, nil, err
	}
	header := &headerWatch{limit: edgeSize}
	logOption := ""
	if countedAt != nil {
		logOption = "--master-data=2"
	}
	header.onFull = func(head string) error {
		if !unblock.Stop() {
			return errOtherInstant // commits were let go before the dump had its snapshot
		}
		release()
		if position := dumpPosition.FindStringSubmatch(head); countedAt != nil && (position == nil || position[1] != countedAt[1] || position[2] != countedAt[2]) {
			return errOtherInstant
		}
		return nil
	}
	err = b.save(ctx, part, func(ctx context.Context, w io.Writer) error {
		_, err := c.run(ctx, nil, io.MultiWriter(header, w), mariadbLogin+`
set -f
program=$(find_program mariadb-dump mysqldump)
databases=$(`+mariadbClient+` --batch --skip-column-names --execute "SELECT SCHEMA_NAME FROM information_schema.SCHEMATA WHERE `+mariadbSchemas+`")
"$program" --user=root --single-transaction --quick --skip-lock-tables --routines --events --triggers --hex-blob `+logOption+` --databases $databases`)
		if err == nil {
			err = header.finish()
		}
		return err
	})
	if err != nil {
		if header.err == errOtherInstant {
			err = errOtherInstant
		}
		return nil, nil, err
	}
	database, err := countMariaDB(counting, part.Service, mariadbSchemas)
	return database, countedAt, err
}

// headerWatch calls a function once with the beginning of a stream.
type headerWatch struct {
	limit  int
	head   []byte
	onFull func(head string) error
	isDone bool
	err    error
}

// Write implements io.Writer.
func (h *headerWatch) Write(b []byte) (int, error) {
	if !h.isDone {
		if h.head = append(h.head, b...); len(h.head) >= h.limit {
			if err := h.finish(); err != nil {
				return 0, err
			}
		}
	}
	return len(b), nil
}

// finish calls the function if the stream is shorter than the limit.
func (h *headerWatch) finish() error {
	if !h.isDone {
		h.isDone, h.err = true, h.onFull(string(h.head))
	}
	return h.err
}

// snapshotPosition returns the position of a session's snapshot in the binary log, in the form of dumpPosition's matches; nil if there is no
// log.
func snapshotPosition(session *client) ([]string, error) {
	lines, err := session.query("SHOW STATUS LIKE 'binlog_snapshot_%';")
	if err != nil {
		return nil, err
	}
	position := make([]string, 3)
	for _, line := range lines {
		name, value, _ := strings.Cut(line, "\t")
		switch strings.ToLower(name) {
		case "binlog_snapshot_file":
			position[1] = value
		case "binlog_snapshot_position":
			position[2] = value
		}
	}
	if position[1] == "" {
		return nil, nil
	}
	return position, nil
}

// countMariaDB counts the rows of all tables in the session's snapshot. schemas is a condition that selects databases, such as [mariadbSchemas].
func countMariaDB(session *client, service, schemas string) (*Database, error) {
	d := &Database{Service: service, Kind: MariaDB, Checks: inconsistencyChecks, Tables: make(map[string]int64), Sums: make(map[string]string), Migrations: make(map[string]string)}
	version, err := session.queryRow("SELECT VERSION();")
	if err != nil {
		return nil, err
	}
	d.Version = version[0]
	tables, err := session.query(`SELECT TABLE_SCHEMA, TABLE_NAME FROM information_schema.TABLES WHERE TABLE_TYPE = 'BASE TABLE' AND TABLE_SCHEMA IN (SELECT SCHEMA_NAME FROM information_schema.SCHEMATA WHERE ` + schemas + `) ORDER BY 1, 2;`)
	if err != nil {
		return nil, err
	}
	for _, line := range tables {
		schema, table, _ := strings.Cut(line, "\t")
		name := schema + "." + table
		from := "`" + strings.ReplaceAll(schema, "`", "``") + "`.`" + strings.ReplaceAll(table, "`", "``") + "`"
		if d.Tables[name], err = queryCount(session, "SELECT COUNT(*) FROM "+from+";"); err != nil {
			return nil, err
		}
		switch strings.ToLower(table) {
		case "accounts_transactions": // BigCapital's ledger
			row, err := session.queryRow("SELECT COUNT(*), COALESCE(SUM(CREDIT), 0), COALESCE(SUM(DEBIT), 0), COALESCE(MAX(ID), 0) FROM " + from + ";")
			if err != nil {
				return nil, err
			}
			d.Sums[name] = fmt.Sprintf("rows %s, credit %s, debit %s, last %s", row[0], row[1], row[2], row[3])
		case "knex_migrations":
			row, err := session.queryRow("SELECT COUNT(*), COALESCE(MAX(name), '') FROM " + from + ";")
			if err != nil {
				return nil, err
			}
			d.Migrations[name] = row[0] + ", the last is " + row[1]
		}
	}
	d.Inconsistencies, err = findMariaDBInconsistencies(session, d)
	return d, err
}

// findMariaDBInconsistencies counts, in the session's snapshot, rows of each foreign key that refer to no row, and tenants of BigCapital
// without a database. A dump is loaded without these checks.
func findMariaDBInconsistencies(session *client, d *Database) (map[string]int64, error) {
	columns, err := session.query(`SELECT TABLE_SCHEMA, TABLE_NAME, REFERENCED_TABLE_SCHEMA, REFERENCED_TABLE_NAME, CONSTRAINT_NAME, COLUMN_NAME, REFERENCED_COLUMN_NAME
 FROM information_schema.KEY_COLUMN_USAGE WHERE REFERENCED_TABLE_NAME IS NOT NULL AND TABLE_SCHEMA NOT IN ('mysql', 'sys') ORDER BY TABLE_SCHEMA, TABLE_NAME, CONSTRAINT_NAME, ORDINAL_POSITION;`)
	if err != nil {
		return nil, err
	}
	found := make(map[string]int64)
	count := func(name, statement string) error {
		n, err := queryCount(session, statement)
		if n > 0 {
			found[name] = n
		}
		return err
	}
	for _, k := range foreignKeys(columns) {
		if err := count(k.String(), k.orphans()); err != nil {
			return nil, err
		}
	}
	const tenants = "bigcapital_system.TENANTS"
	if _, hasTenants := d.Tables[tenants]; hasTenants {
		columns, err := queryCount(session, "SELECT COUNT(*) FROM information_schema.COLUMNS WHERE TABLE_SCHEMA = 'bigcapital_system' AND TABLE_NAME = 'TENANTS' AND COLUMN_NAME IN ('ORGANIZATION_ID', 'BUILT_AT');")
		if err != nil {
			return nil, err
		}
		if columns == 2 {
			err = count("tenants without a database", "SELECT COUNT(*) FROM "+tenants+" t LEFT JOIN information_schema.SCHEMATA s ON s.SCHEMA_NAME = CONCAT('bigcapital_tenant_', t.ORGANIZATION_ID) WHERE t.BUILT_AT IS NOT NULL AND s.SCHEMA_NAME IS NULL;")
			if err != nil {
				return nil, err
			}
		}
	}
	return found, nil
}
