package backup

import (
	"context"
	"errors"
	"fmt"
	"io"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// postgresLogin names the superuser and the database of the official image. Connections within its container need no password.
const postgresLogin = `
export PGUSER="${POSTGRES_USER:-postgres}"
export PGDATABASE="${POSTGRES_DB:-$PGUSER}" PGCONNECT_TIMEOUT=10
`

// psql runs the client program so that it prints rows alone, with tabs between columns, and exits at the first error.
const psql = `psql --no-psqlrc --quiet --tuples-only --no-align --field-separator="$(printf '\t')" --set ON_ERROR_STOP=1`

// What `pg_basebackup --verbose` says of its position in the log.
var baseEnd = regexp.MustCompile(`write-ahead log end point: ([0-9A-F]+/[0-9A-F]+)`)

// backUpPostgres stores a physical copy, the roles, a dump of each database, and the log between the two. With the log, the physical copy
// can be rolled forward to the instant of the dump.
func (b *appBackup) backUpPostgres(ctx context.Context, source Source) error {
	c, err := b.container(ctx, source.Service)
	if err != nil {
		return err
	}
	part := func(name, format string) Part {
		return Part{Name: source.Service + "-" + name, Service: source.Service, Kind: Postgres, Format: format}
	}
	// Its slot keeps the log until the session ends.
	keepingLog, err := openReplication(ctx, c)
	if err != nil {
		return err
	}
	defer keepingLog.close()
	slot := "edge_backup_" + strings.ToLower(strings.NewReplacer("-", "_", ".", "_").Replace(b.manifest.Set))
	if _, err := keepingLog.query("CREATE_REPLICATION_SLOT " + slot + " TEMPORARY PHYSICAL RESERVE_WAL;"); err != nil {
		return fmt.Errorf("keep the write-ahead log: %w", err)
	}
	var directory strings.Builder
	limited, cancel := context.WithTimeoutCause(ctx, lockTimeout, fmt.Errorf("%s has not answered within %v", source.Service, lockTimeout))
	defer cancel()
	if _, err := c.run(limited, nil, &directory, postgresLogin+psql+` --command 'SHOW data_directory'`); err != nil {
		return err
	}
	physicalPart := part("physical.tar", FormatBaseTar)
	physicalPart.Path = strings.TrimSpace(directory.String())
	stderr, err := b.saveScript(ctx, c, physicalPart, postgresLogin+
		`pg_basebackup --pgdata - --format tar --wal-method fetch --checkpoint fast --label edge --no-password --verbose`)
	if err != nil {
		return err
	}
	end := baseEnd.FindStringSubmatch(stderr)
	if end == nil {
		return fmt.Errorf("back up %s: pg_basebackup has not said where it ends", source.Service)
	}
	if _, err := b.saveScript(ctx, c, part("roles.sql", FormatSQL), postgresLogin+`pg_dumpall --globals-only`); err != nil {
		return err
	}
	database, err := b.dumpPostgres(ctx, c, slot+"_dump", part)
	if err != nil {
		return err
	}
	database.PhysicalPosition = end[1]
	log, err := readPostgresLog(ctx, c)
	if err != nil {
		return err
	}
	first, err := log.locate(database.PhysicalPosition)
	if err != nil {
		return err
	}
	position, err := log.locate(database.Position)
	if err != nil {
		return err
	}
	// A standby goes on with the file of its primary, which is being written.
	script := fmt.Sprintf(postgresLogin+`
query() { `+psql+` --command "$1"; }
standby=$(query 'SELECT pg_is_in_recovery()')
[ "$standby" = t ] || query 'SELECT pg_switch_wal()' >/dev/null
cd "$(query 'SHOW data_directory')/pg_wal"
files=$(query "SELECT name FROM pg_ls_waldir() WHERE name ~ '^[0-9A-F]{24}$' AND name BETWEEN '%s' AND '%s' ORDER BY 1")
if [ "$standby" = t ]; then
	last=$(echo "$files" | tail -n 1)
	copy=$(mktemp -d)
	trap 'rm -rf "$copy"' EXIT
	cp "$last" "$copy"
	tar -cf - $(echo "$files" | sed '$d') -C "$copy" "$last"
else
	tar -cf - $files
fi`,
		first.File, position.File)
	if _, err := b.saveScript(ctx, c, part("wal.tar", FormatWALTar), script); err != nil {
		return err
	}
	if database.Span, err = log.markedSpan(ctx, position); err != nil {
		return err
	}
	b.manifest.Databases = append(b.manifest.Databases, *database)
	return keepingLog.close()
}

// openReplication opens a session of the replication protocol, which also takes queries.
func openReplication(ctx context.Context, c *container) (*client, error) {
	return c.openClient(ctx, postgresLogin+psql+` "dbname=$PGDATABASE replication=database"`, `\echo `+endLine)
}

const beginSnapshot = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY;"

// The statements with which a standby stops to replay its primary's log, and goes on. Commits of the primary do not wait for the replay.
const (
	pauseReplay  = "DO $$BEGIN PERFORM pg_wal_replay_pause(); FOR i IN 1..100 LOOP EXIT WHEN pg_get_wal_replay_pause_state() = 'paused'; PERFORM pg_sleep(0.1); END LOOP; END$$;"
	resumeReplay = "DO $$BEGIN PERFORM pg_wal_replay_resume(); END$$;"
)

// snapshotStandby begins a transaction of the session whose snapshot has exactly what the standby has replayed, and exports it. All statements are sent at
// once, so that the standby goes on also if the backup is killed.
func snapshotStandby(ctx context.Context, c *container, session *client, d *Database) (snapshot string, err error) {
	row, err := session.queryRow(pauseReplay + beginSnapshot + "SELECT pg_export_snapshot(), pg_last_wal_replay_lsn(), pg_get_wal_replay_pause_state() = 'paused';" + resumeReplay)
	if err == nil && len(row) < 3 {
		err = fmt.Errorf("got %q", row)
	}
	if err != nil {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
		defer cancel()
		_, resumeErr := c.run(ctx, nil, io.Discard, postgresLogin+psql+` --command `+quoteShell(resumeReplay))
		return "", errors.Join(fmt.Errorf("get a snapshot of the standby and its position: %w", err), resumeErr)
	}
	d.Position, d.SameInstant, d.Standby = row[1], row[2] == "t", true
	return row[0], nil
}

// slotTimeout is how long a backup waits for transactions that are open.
const slotTimeout = 2 * time.Minute

// dumpPostgres stores a dump of each database, and counts what is in the main one's snapshot.
func (b *appBackup) dumpPostgres(ctx context.Context, c *container, slot string, part func(name, format string) Part) (*Database, error) {
	session, err := c.openClient(ctx, postgresLogin+psql, `\echo `+endLine)
	if err != nil {
		return nil, err
	}
	defer session.close()
	if _, err := session.query(fmt.Sprintf("SET lock_timeout = '%ds';", int(lockTimeout.Seconds()))); err != nil {
		return nil, err
	}
	row, err := session.queryRow("SELECT current_setting('server_version'), current_setting('wal_level'), current_database(), pg_is_in_recovery();")
	if err != nil {
		return nil, err
	}
	d := &Database{Service: c.service, Kind: Postgres, Version: row[0], Tables: make(map[string]int64), Checks: inconsistencyChecks}
	logLevel, name, isStandby := row[1], row[2], row[3] == "t"

	snapshot := ""
	if logLevel == "logical" && !isStandby {
		// The server exports the snapshot that has exactly what is committed before the slot's position.
		ctx, cancel := context.WithCancelCause(ctx)
		defer cancel(nil)
		replication, err := openReplication(ctx, c)
		if err != nil {
			return nil, err
		}
		defer replication.close() // it keeps the snapshot
		// The server waits for all transactions that write, and keeps the log meanwhile.
		timeout := time.AfterFunc(slotTimeout, func() {
			cancel(fmt.Errorf("a transaction has been open for more than %v; SELECT * FROM pg_stat_activity shows it", slotTimeout))
		})
		row, err := replication.queryRow("CREATE_REPLICATION_SLOT " + slot + " TEMPORARY LOGICAL pgoutput EXPORT_SNAPSHOT;")
		timeout.Stop()
		if err != nil {
			return nil, fmt.Errorf("get a snapshot and its position: %w", err)
		}
		if len(row) < 3 {
			return nil, fmt.Errorf("get a snapshot and its position: got %q", row)
		}
		d.Position, snapshot, d.SameInstant = row[1], row[2], true
	}
	switch {
	case isStandby:
		if snapshot, err = snapshotStandby(ctx, c, session, d); err != nil {
			return nil, err
		}
	case snapshot != "":
		if _, err := session.query(beginSnapshot + "SET TRANSACTION SNAPSHOT '" + snapshot + "';"); err != nil {
			return nil, err
		}
	default:
		// What is flushed is in a file of the log; where the next record is inserted may be in one that does not exist yet.
		row, err := session.queryRow(beginSnapshot + "SELECT pg_export_snapshot(), pg_current_wal_flush_lsn();")
		if err != nil {
			return nil, err
		}
		snapshot, d.Position = row[0], row[1]
	}
	dump := func(name, option string) error {
		_, err := b.saveScript(ctx, c, part(name+".pgdump", FormatPgDump), postgresLogin+
			"pg_dump --format custom --compress 0 "+option+" --dbname "+quoteShell(name))
		return err
	}
	if err := dump(name, "--snapshot="+quoteShell(snapshot)); err != nil {
		return nil, err
	}
	if err := countPostgres(session, d); err != nil {
		return nil, err
	}
	others, err := session.query("SELECT datname FROM pg_database WHERE datallowconn AND NOT datistemplate AND datname <> current_database() ORDER BY 1;")
	if err != nil {
		return nil, err
	}
	for _, other := range others {
		if err := dump(other, ""); err != nil {
			return nil, err
		}
	}
	return d, session.close()
}

// countPostgres counts the rows of all tables in the session's snapshot.
func countPostgres(session *client, d *Database) error {
	tables, err := session.query(`SELECT format('%I.%I', n.nspname, c.relname) FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
 WHERE c.relkind = 'r' AND c.relpersistence = 'p' AND n.nspname NOT IN ('pg_catalog', 'information_schema') AND n.nspname !~ '^pg_' ORDER BY 1;`)
	if err != nil {
		return err
	}
	for _, name := range tables {
		if d.Tables[name], err = queryCount(session, "SELECT count(*) FROM ONLY "+name+";"); err != nil {
			return err
		}
	}
	if d.Inconsistencies, err = findPostgresInconsistencies(session, d); err != nil {
		return err
	}
	d.attachments, err = readAttachments(session, d)
	return err
}

// cortezaReferences are references of Corteza's tables that no foreign key protects.
var cortezaReferences = []struct{ name, statement string }{
	{"records without a module", "SELECT count(*) FROM compose_record r LEFT JOIN compose_module m ON m.id = r.module_id WHERE m.id IS NULL;"},
	{"modules without a namespace", "SELECT count(*) FROM compose_module m LEFT JOIN compose_namespace n ON n.id = m.rel_namespace WHERE n.id IS NULL;"},
}

// findPostgresInconsistencies counts, in the session's snapshot, rows that refer to no row: of each foreign key, and of Corteza's tables.
func findPostgresInconsistencies(session *client, d *Database) (map[string]int64, error) {
	found := make(map[string]int64)
	keys, err := session.query(postgresForeignKeys)
	if err != nil {
		return nil, err
	}
	for _, line := range keys {
		name, statement, _ := strings.Cut(line, "\t")
		n, err := queryCount(session, statement)
		if err != nil {
			return nil, err
		}
		if n > 0 {
			found[name] = n
		}
	}
	for _, table := range []string{"public.compose_record", "public.compose_module", "public.compose_namespace"} {
		if _, isCorteza := d.Tables[table]; !isCorteza {
			return found, nil
		}
	}
	for _, r := range cortezaReferences {
		n, err := queryCount(session, r.statement)
		if err != nil {
			return nil, err
		}
		if n > 0 {
			found[r.name] = n
		}
	}
	return found, nil
}

// queryCount runs a statement that prints a number.
func queryCount(session *client, statement string) (int64, error) {
	row, err := session.queryRow(statement)
	if err != nil {
		return 0, err
	}
	return strconv.ParseInt(row[0], 10, 64)
}

// quoteShell quotes a word for a shell.
func quoteShell(word string) string { return "'" + strings.ReplaceAll(word, "'", `'\''`) + "'" }
