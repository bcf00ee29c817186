package backup

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"path"
	"slices"
	"strings"

	"github.com/theworklabs/edge/internal/compose"
)

// target is a directory whose content a restore replaces.
type target struct {
	app       string
	service   string
	kind      Kind
	directory string // in the service's container
	container compose.Container
	manifest  *Manifest
	parts     []Part    // that are written to it
	database  *Database // nil for files and Redis
}

// part returns the part of a format.
func (t *target) part(format string) (Part, bool) {
	i := slices.IndexFunc(t.parts, func(p Part) bool { return p.Format == format })
	if i < 0 {
		return Part{}, false
	}
	return t.parts[i], true
}

// partNamed returns the part of a name.
func (t *target) partNamed(name string) (Part, bool) {
	i := slices.IndexFunc(t.parts, func(p Part) bool { return p.Name == name })
	if i < 0 {
		return Part{}, false
	}
	return t.parts[i], true
}

// load writes a part of a set to w. It fails if the content is not what the manifest says.
func (r *restoreRun) load(ctx context.Context, p Part, w io.Writer) error {
	hash := sha256.New()
	count := &counter{}
	if err := r.repository.Load(ctx, p.Snapshot, p.Name, io.MultiWriter(w, hash, count, r.progress)); err != nil {
		return err
	}
	if got := hex.EncodeToString(hash.Sum(nil)); got != p.SHA256 || count.n != p.Size {
		return fmt.Errorf("%s has %d bytes with the SHA-256 %s; the manifest has %d with %s", p.Name, count.n, got, p.Size, p.SHA256)
	}
	return nil
}

// counter counts bytes.
type counter struct{ n int64 }

// Write implements io.Writer.
func (c *counter) Write(b []byte) (int, error) {
	c.n += int64(len(b))
	return len(b), nil
}

// pipe runs a consumer of what a part has.
func (r *restoreRun) pipe(ctx context.Context, p Part, consume func(ctx context.Context, stdin io.Reader) error) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	reader, writer := io.Pipe()
	loaded := make(chan error, 1)
	go func() {
		err := r.load(ctx, p, writer)
		// If the end is not that of the part, the consumer must not take it for one.
		_ = writer.CloseWithError(err)
		if err != nil {
			cancel(err)
		}
		loaded <- err
	}()
	err := consume(ctx, reader)
	_ = reader.CloseWithError(io.ErrClosedPipe)
	if loadErr := <-loaded; loadErr != nil && err == nil {
		return loadErr
	}
	return err
}

// stage writes the new content of a directory beside the old one, and brings it to the instant of the set.
func (r *restoreRun) stage(ctx context.Context, t *target) error {
	if _, err := r.helper.volumes(ctx, t.container.ID, nil, "begin", t.directory); err != nil {
		return err
	}
	switch {
	case t.kind == MariaDB && r.Logical:
		return r.loadMariaDB(ctx, t)
	case t.kind == Postgres && r.Logical:
		return r.loadPostgres(ctx, t)
	}
	switch t.kind {
	case MariaDB:
		return r.stageMariaDB(ctx, t)
	case Postgres:
		return r.stagePostgres(ctx, t)
	case Redis:
		return r.stageRedis(ctx, t)
	case Files:
		return r.stageFiles(ctx, t)
	}
	return fmt.Errorf("%s: the kind %s cannot be restored", t.service, t.kind)
}

// stageFiles extracts an archive of files, and notes their names.
func (r *restoreRun) stageFiles(ctx context.Context, t *target) error {
	p, _ := t.part(FormatTar)
	if r.files[t.app] == nil {
		r.files[t.app] = newFileNames()
	}
	return r.pipe(ctx, p, func(ctx context.Context, stdin io.Reader) error {
		names, wait := r.files[t.app].tee()
		_, err := r.helper.volumes(ctx, t.container.ID, io.TeeReader(stdin, names), "extract", t.directory)
		_ = names.CloseWithError(err)
		return errors.Join(err, wait())
	})
}

// stagedName is the name of the directory in which package volume stages the new content.
const stagedName = ".edge-restore-new"

// stageMariaDB extracts the physical copy, prepares it, and rolls it forward to the position of the dump.
func (r *restoreRun) stageMariaDB(ctx context.Context, t *target) error {
	staged := path.Join(t.directory, stagedName)
	physical, _ := t.part(FormatMbstream)
	err := r.pipe(ctx, physical, func(ctx context.Context, stdin io.Reader) error {
		return r.helper.script(ctx, t, "mysql", stdin, `
chown mysql `+quoteShell(staged)+`
as_user mbstream --extract --directory `+quoteShell(staged))
	})
	if err != nil {
		return err
	}
	prepare := `
staged=` + quoteShell(staged) + `
program=$(command -v mariadb-backup || command -v mariabackup)
as_user "$program" --prepare --target-dir="$staged" 2>/tmp/prepare || { tail -n 5 /tmp/prepare >&2; exit 1; }
tail -n 1 /tmp/prepare | grep -q 'completed OK!' || { tail -n 5 /tmp/prepare >&2; exit 1; }
`
	clean := `
cd "$staged"
rm -f backup-my.cnf xtrabackup_* mariadb_backup_*
`
	d := t.database
	binlog, hasBinlog := t.part(FormatBinlog)
	if !hasBinlog || d.Position == d.PhysicalPosition {
		return r.helper.script(ctx, t, "mysql", nil, prepare+clean)
	}
	_, first, _ := strings.Cut(d.PhysicalPosition, ":")
	_, last, _ := strings.Cut(d.Position, ":")
	if err := r.helper.script(ctx, t, "mysql", nil, prepare); err != nil { // it takes longer than a stream may stall
		return err
	}
	return r.pipe(ctx, binlog, func(ctx context.Context, stdin io.Reader) error {
		return r.helper.script(ctx, t, "mysql", stdin, "staged="+quoteShell(staged)+`
mkdir /tmp/binlog
tar -x -C /tmp/binlog
chmod -R a+rX /tmp/binlog
`+mariadbServer+`
start_server --defaults-file="$staged/backup-my.cnf" --skip-grant-tables
{ "$(command -v mariadb-binlog || command -v mysqlbinlog)" --no-defaults --start-position=`+first+` --stop-position=`+last+` /tmp/binlog/* || touch /tmp/failed; } | client
[ ! -e /tmp/failed ]
stop_server
`+clean)
	})
}

// mariadbServer has shell functions that run a server on the staged directory, for this container alone.
const mariadbServer = `
client() { "$(command -v mariadb || command -v mysql)" --no-defaults --socket=/tmp/server.sock --user=root --binary-mode "$@"; }
start_server() { # the first argument says which defaults it reads
	as_user "$(command -v mariadbd || command -v mysqld)" "$@" --datadir="$staged" --skip-networking --socket=/tmp/server.sock \
		--pid-file=/tmp/server.pid --skip-log-bin --skip-slave-start >/tmp/log 2>&1 &
	server=$!
	tries=0
	until client --execute 'SELECT 1' >/dev/null 2>&1; do
		kill -0 $server 2>/dev/null || { tail -n 5 /tmp/log >&2; exit 1; }
		tries=$((tries + 1)); [ $tries -lt 1200 ] || { echo 'the server does not start' >&2; exit 1; }
		sleep 0.1
	done
}
stop_server() { client --execute SHUTDOWN; wait $server; }
`

// stagePostgres extracts the physical copy, and has the server replay its log up to the instant of the dump.
func (r *restoreRun) stagePostgres(ctx context.Context, t *target) error {
	staged := path.Join(t.directory, stagedName)
	physical, _ := t.part(FormatBaseTar)
	err := r.pipe(ctx, physical, func(ctx context.Context, stdin io.Reader) error {
		return r.helper.script(ctx, t, "postgres", stdin, `
chown postgres `+quoteShell(staged)+`
chmod 0700 `+quoteShell(staged)+`
as_user tar -x -C `+quoteShell(staged))
	})
	if err != nil {
		return err
	}
	wal, hasWAL := t.part(FormatWALTar)
	if !hasWAL {
		return fmt.Errorf("the set has no write-ahead log of %s", t.service)
	}
	return r.pipe(ctx, wal, func(ctx context.Context, stdin io.Reader) error {
		return r.helper.script(ctx, t, "postgres", stdin, `
staged=`+quoteShell(staged)+`
mkdir /tmp/wal
tar -x -C /tmp/wal
chmod -R a+rX /tmp/wal
touch "$staged/recovery.signal"
chown postgres "$staged/recovery.signal"
cp "$staged/postgresql.auto.conf" /tmp/auto.conf
server() {
	as_user "$(command -v pg_ctl)" --pgdata "$staged" --wait --timeout 3600 --log /tmp/log "$@" >/tmp/ctl 2>&1 || { grep -h 'FATAL\|ERROR' /tmp/log >&2; tail -n 2 /tmp/ctl >&2; exit 1; }
}
server start --options "-c listen_addresses= -c unix_socket_directories=/tmp -c archive_mode=off -c hot_standby=on -c ssl=off -c restore_command='cp /tmp/wal/%f %p' -c recovery_target_lsn=`+t.database.Position+` -c recovery_target_inclusive=off -c recovery_target_action=promote"
tries=0
while [ -e "$staged/recovery.signal" ]; do
	[ -e "$staged/postmaster.pid" ] || { grep -h 'FATAL\|ERROR' /tmp/log >&2; exit 1; }
	tries=$((tries + 1)); [ $tries -lt 36000 ] || { echo 'the recovery does not end' >&2; exit 1; }
	sleep 0.1
done
server stop --mode fast
cp /tmp/auto.conf "$staged/postgresql.auto.conf"
`)
	})
}

// stageRedis leaves Redis empty, unless its content was asked for: old jobs in its queues would be done again.
func (r *restoreRun) stageRedis(ctx context.Context, t *target) error {
	if !r.Queues {
		return nil
	}
	p, _ := t.part(FormatRDB)
	return r.pipe(ctx, p, func(ctx context.Context, stdin io.Reader) error {
		return r.helper.script(ctx, t, "redis", stdin, `
cat >/tmp/dump.rdb
install -o redis -g redis -m 0600 /tmp/dump.rdb `+quoteShell(path.Join(t.directory, stagedName, "dump.rdb")))
	})
}
