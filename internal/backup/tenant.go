package backup

import (
	"bufio"
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"regexp"
	"slices"
	"strings"

	"github.com/theworklabs/edge/internal/hint"
)

// Tenant restores the database of one tenant of BigCapital from a dump, while the applications run. It loads the dump into a database of its own,
// compares it with the manifest, and has its tables take the place of the present ones in one statement. A Tenant runs once.
type Tenant struct {
	Restore
	// Tenant is the ID of the organization, or the name of its database.
	Tenant string
}

// The beginnings of databases that are there only during a restore.
const (
	loadedPrefix   = "edge_restore_"
	replacedPrefix = "edge_replaced_"
)

// maxSchemaName is how long the name of a database may be.
const maxSchemaName = 64

// Run restores the tenant.
func (r *Tenant) Run(ctx context.Context) error {
	run := &restoreRun{Restore: &r.Restore, files: make(map[string]*fileNames)}
	run.progress = &progress{out: r.Out, isTerminal: r.IsTerminal}
	if !r.At.IsZero() {
		return hint.New(errors.New("the database of one tenant cannot be rolled forward: --tenant and --at exclude each other"), "restore all of the application with --at, or the tenant as the set has it")
	}
	if err := run.openProject(ctx, r.Docker, r.Project, r.Edge); err != nil {
		return err
	}
	unlock, err := lockProject(run.stack.Name)
	if err != nil {
		return err
	}
	defer unlock()
	if j, err := readJournal(run.project.Directory); err != nil || j != nil {
		return errors.Join(err, hint.New(errors.New("a restore was interrupted"), "edge restore latest finishes it"))
	}
	if err := run.findRepository(ctx); err != nil {
		return err
	}
	sets, err := listSets(ctx, run.repository, run.stack.Name)
	if err != nil {
		return err
	}
	selected, err := selectSets(completeSets(sets), r.Set, r.Apps)
	if err != nil {
		return err
	}
	t, err := run.findTenant(ctx, selected, r.Tenant)
	if err != nil {
		return err
	}
	return t.restore(ctx)
}

// tenantRun is the restore of a tenant's database.
type tenantRun struct {
	*restoreRun
	*container
	set              *Set
	database         Database // of the manifest
	dump             Part
	schema           string
	loaded, replaced string
	charset          string // of the database in the dump, for one that is no longer there
}

// findTenant finds the database of a tenant in one of the sets.
func (r *restoreRun) findTenant(ctx context.Context, sets []*Set, tenant string) (*tenantRun, error) {
	var found []*tenantRun
	for _, set := range sets {
		m, err := loadManifest(ctx, r.repository, set)
		if err != nil {
			return nil, err
		}
		for _, d := range m.Databases {
			if d.Kind != MariaDB {
				continue
			}
			var schemas []string
			for table := range d.Tables {
				schema, _, _ := strings.Cut(table, ".")
				if (schema == tenant || strings.HasSuffix(schema, "_tenant_"+tenant)) && !slices.Contains(schemas, schema) {
					schemas = append(schemas, schema)
				}
			}
			i := slices.IndexFunc(m.Parts, func(p Part) bool { return p.Name == d.Service+"-dump.sql" })
			for _, schema := range schemas {
				if i >= 0 {
					found = append(found, &tenantRun{restoreRun: r, set: set, database: d, dump: m.Parts[i], schema: schema})
				}
			}
		}
	}
	switch len(found) {
	case 0:
		return nil, hint.New(fmt.Errorf("the set has no database of the tenant %q", tenant), "the ID of the organization is ORGANIZATION_ID in bigcapital_system.TENANTS")
	case 1:
	default:
		return nil, hint.New(fmt.Errorf("the set has several databases of the tenant %q", tenant), "name the application, or the database itself: "+found[0].schema)
	}
	t := found[0]
	t.loaded = loadedPrefix + strings.ToLower(rand.Text()[:8])
	t.replaced = replacedPrefix + t.schema[:min(len(t.schema), maxSchemaName-len(replacedPrefix))]
	var err error
	t.container, err = findContainer(ctx, r.Docker, r.stack.Name, t.database.Service)
	return t, err
}

// restore loads the dump and replaces the tables.
func (t *tenantRun) restore(ctx context.Context) (err error) {
	session, err := t.openClient(ctx, mariadbLogin+mariadbClient+" --batch --skip-column-names", "SELECT '"+endLine+"';")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, session.close()) }()
	if err := t.dropLeftovers(session); err != nil {
		return err
	}
	defer func() {
		if _, dropErr := session.query("DROP DATABASE IF EXISTS " + quoteName(t.loaded) + ";"); dropErr != nil && err == nil {
			err = dropErr
		}
	}()
	if err := t.load(ctx, session); err != nil {
		return err
	}
	if err := t.check(session); err != nil {
		return err
	}
	t.progress.startStep("replace %s", t.schema)
	if err := t.replace(session); err != nil {
		return err
	}
	if err := dropSchema(session, t.replaced); err != nil {
		return err
	}
	t.progress.finishStep("replaced %s", t.schema)
	t.progress.printLine("restored %s of the set %s; the other tenants are as they were", t.schema, t.set.ID)
	return nil
}

// dropLeftovers removes copies of a dump that an interrupted restore has left. Tables that it has replaced are no copies, and stay.
func (t *tenantRun) dropLeftovers(session *client) error {
	names, err := session.query("SELECT SCHEMA_NAME FROM information_schema.SCHEMATA WHERE SCHEMA_NAME LIKE '" + strings.ReplaceAll(loadedPrefix, "_", `\_`) + "%';")
	if err != nil {
		return err
	}
	for _, name := range names {
		t.progress.printLine("note: %s is left of an interrupted restore, and removed", name)
		if err := dropSchema(session, name); err != nil {
			return err
		}
	}
	tables, err := queryCount(session, "SELECT COUNT(*) FROM information_schema.TABLES WHERE TABLE_SCHEMA = "+quoteText(t.replaced)+";")
	if err != nil {
		return err
	}
	if tables > 0 {
		return hint.New(fmt.Errorf("an interrupted restore has left the database %s, with %d tables that %s had before", t.replaced, tables, t.schema),
			"if the tenant is as it should be, drop that database; otherwise move its tables back with RENAME TABLE")
	}
	return dropSchema(session, t.replaced)
}

func dropSchema(session *client, name string) error {
	_, err := session.query("DROP DATABASE IF EXISTS " + quoteName(name) + ";")
	return err
}

// load loads the tenant's part of the dump into a database of its own.
func (t *tenantRun) load(ctx context.Context, session *client) error {
	t.progress.startStep("load %s", t.schema)
	if _, err := session.query("CREATE DATABASE " + quoteName(t.loaded) + ";"); err != nil { // each table in the dump says its character set
		return err
	}
	reset, err := allowLargePackets(session)
	if err != nil {
		return err
	}
	defer reset()
	err = t.pipe(ctx, t.dump, func(ctx context.Context, dump io.Reader) error {
		reader, writer := io.Pipe()
		filtered := make(chan error, 1)
		go func() {
			var err error
			t.charset, err = filterDump(writer, dump, t.schema)
			if err == nil {
				_, err = io.Copy(io.Discard, dump) // its checksum is of all of it
			}
			_ = writer.CloseWithError(err)
			filtered <- err
		}()
		_, err := t.run(ctx, reader, io.Discard, mariadbLogin+mariadbClient+" --binary-mode --max-allowed-packet=1G --database="+quoteShell(t.loaded))
		_ = reader.CloseWithError(io.ErrClosedPipe)
		return errors.Join(err, <-filtered)
	})
	if err != nil {
		return err
	}
	t.progress.finishStep("loaded %s", t.schema)
	return nil
}

// allowLargePackets lets connections that begin from now on send a value of any size that the server can store. In a dump, it takes more bytes than in
// the statement of the application. reset takes it back.
func allowLargePackets(session *client) (reset func(), err error) {
	before, err := queryCount(session, "SELECT @@GLOBAL.max_allowed_packet;")
	if err != nil {
		return nil, err
	}
	const largest = 1 << 30
	if before >= largest {
		return func() {}, nil
	}
	if _, err := session.query(fmt.Sprintf("SET GLOBAL max_allowed_packet = %d;", largest)); err != nil {
		return nil, err
	}
	// If it cannot be reset, the connection has failed, which is an error of the next statement. The next start of the server resets it, too.
	return func() { _, _ = session.query(fmt.Sprintf("SET GLOBAL max_allowed_packet = %d;", before)) }, nil
}

// databaseMark begins the part of a dump that has one database.
var databaseMark = []byte("-- Current Database: `")

// databaseCharset is in the statement that creates a database.
var databaseCharset = regexp.MustCompile(`DEFAULT (CHARACTER SET \w+(?: COLLATE \w+)?)`)

// filterDump copies the header of a dump and the part of one database, without the statements that create and select it. It returns the character set of the database, as CREATE DATABASE
// takes it.
func filterDump(w io.Writer, dump io.Reader, schema string) (charset string, err error) {
	lines := bufio.NewReaderSize(dump, 1<<20)
	mark := append(bytes.Clone(databaseMark), []byte(strings.ReplaceAll(schema, "`", "``")+"`")...)
	isWanted, isFound, isStart := true, false, true // the header comes first
	for {
		line, err := lines.ReadSlice('\n') // a long line comes in pieces
		if isStart && bytes.HasPrefix(line, databaseMark) {
			isWanted = bytes.Equal(bytes.TrimRight(line, "\r\n"), mark)
			isFound = isFound || isWanted
		}
		isSelection := isStart && isFound && (bytes.HasPrefix(line, []byte("CREATE DATABASE ")) || bytes.HasPrefix(line, []byte("USE `")))
		if found := databaseCharset.FindSubmatch(line); isWanted && isSelection && found != nil {
			charset = string(found[1])
		}
		if isWanted && !isSelection {
			if _, err := w.Write(line); err != nil {
				return "", err
			}
		}
		isStart = err == nil
		if errors.Is(err, bufio.ErrBufferFull) {
			continue
		}
		if errors.Is(err, io.EOF) {
			if !isFound {
				return "", fmt.Errorf("the dump has no database %s", schema)
			}
			return charset, nil
		}
		if err != nil {
			return "", err
		}
	}
}

// check compares the loaded database with what the manifest says of the tenant's.
func (t *tenantRun) check(session *client) error {
	for _, kind := range []struct{ name, table, column string }{{"views", "VIEWS", "TABLE_SCHEMA"}, {"triggers", "TRIGGERS", "TRIGGER_SCHEMA"}, {"routines", "ROUTINES", "ROUTINE_SCHEMA"}} {
		n, err := queryCount(session, "SELECT COUNT(*) FROM information_schema."+kind.table+" WHERE "+kind.column+" IN ("+quoteText(t.loaded)+", "+quoteText(t.schema)+");")
		if err != nil {
			return err
		}
		if n > 0 {
			return hint.New(fmt.Errorf("the tenant's database has %s, which cannot move with its tables", kind.name), "restore all of the application")
		}
	}
	want := &Database{SameInstant: true, Tables: make(map[string]int64), Sums: make(map[string]string)}
	for name, rows := range t.database.Tables {
		if table, isTenants := strings.CutPrefix(name, t.schema+"."); isTenants {
			want.Tables[t.loaded+"."+table] = rows
		}
	}
	for name, sums := range t.database.Sums {
		if table, isTenants := strings.CutPrefix(name, t.schema+"."); isTenants {
			want.Sums[t.loaded+"."+table] = sums
		}
	}
	got, err := countMariaDB(session, t.service, "SCHEMA_NAME = "+quoteText(t.loaded))
	if err != nil {
		return err
	}
	got.Inconsistencies, got.Migrations = nil, nil
	if problems := compareDatabases(want, got); len(problems) > 0 {
		return hint.New(fmt.Errorf("%s is not what was backed up: %s", t.schema, joinProblems(problems)), otherSet)
	}
	return nil
}

// replace has the loaded tables take the place of the present ones.
func (t *tenantRun) replace(session *client) error {
	for _, name := range []string{t.schema, t.replaced} {
		if _, err := session.query("CREATE DATABASE IF NOT EXISTS " + quoteName(name) + " " + t.charset + ";"); err != nil {
			return err
		}
	}
	return t.moveTables(session, [2]string{t.schema, t.replaced}, [2]string{t.loaded, t.schema})
}

// moveTables moves all tables from one database to another one, for each of the moves, in one statement: all of them move, or none.
func (t *tenantRun) moveTables(session *client, moves ...[2]string) error {
	var renames []string
	for _, m := range moves {
		tables, err := session.query("SELECT TABLE_NAME FROM information_schema.TABLES WHERE TABLE_TYPE = 'BASE TABLE' AND TABLE_SCHEMA = " + quoteText(m[0]) + " ORDER BY 1;")
		if err != nil {
			return err
		}
		for _, table := range tables {
			renames = append(renames, quoteName(m[0])+"."+quoteName(table)+" TO "+quoteName(m[1])+"."+quoteName(table))
		}
	}
	if len(renames) == 0 {
		return nil
	}
	// A transaction that is open in the application must not make the statement wait, because all others would wait behind it.
	statement := fmt.Sprintf("SET STATEMENT lock_wait_timeout = %d FOR RENAME TABLE %s;", int(commitBlockTimeout.Seconds()), strings.Join(renames, ", "))
	_, err := session.query(statement)
	if err != nil {
		return hint.New(err, "nothing is changed; if a transaction is open in the application, stop it, and run the restore again")
	}
	return nil
}

// quoteName quotes a name, and quoteText a text, for MariaDB.
func quoteName(name string) string { return "`" + strings.ReplaceAll(name, "`", "``") + "`" }

func quoteText(text string) string {
	return "'" + strings.NewReplacer(`\`, `\\`, "'", "''").Replace(text) + "'"
}
