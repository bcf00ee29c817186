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
	"strconv"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/theworklabs/edge/internal/compose"
	"github.com/theworklabs/edge/internal/dblog"
	"github.com/theworklabs/edge/internal/hint"
)

// target is a directory whose content a restore replaces.
type target struct {
	app       string
	service   string
	kind      Kind
	directory string // in the service's container
	container compose.Container
	mount     mount // that has the directory
	manifest  *Manifest
	parts     []Part         // that are written to it
	database  *Database      // nil for files and Redis
	logs      []dblog.Stored // that roll the database forward from the set
}

// name returns the service, and with files also the directory: a service may have several.
func (t *target) name() string {
	if t.kind == Files {
		return t.service + ":" + t.directory
	}
	return t.service
}

// journalTarget returns how a journal names the target.
func (t *target) journalTarget() journalTarget { return journalTarget{t.mount, t.directory} }

// findMount finds the volume that has the directory. A database is replaced as a whole, so it must not have another volume inside.
func (t *target) findMount() error {
	best := -1
	for i, m := range t.container.Mounts {
		isAround := isInside(t.directory, m.Destination)
		switch {
		case isAround && (best < 0 || len(m.Destination) > len(t.container.Mounts[best].Destination)):
			best = i
		case !isAround && t.kind != Files && isInside(m.Destination, t.directory):
			return hint.New(fmt.Errorf("%s has the volume %s inside of %s, whose content cannot be replaced as a whole", t.service, m.Destination, t.directory), "load the dump of the set by hand: see docs/backup.md")
		}
	}
	if best < 0 || t.container.Mounts[best].Type == "tmpfs" {
		return hint.New(fmt.Errorf("%s has no volume at %s: its data would be lost with its container", t.service, t.directory), "mount a volume there, and recreate the container: docker compose up --no-start "+t.service)
	}
	m := t.container.Mounts[best]
	t.mount = mount{Type: m.Type, Source: m.Source, Target: m.Destination}
	if m.Type == "volume" {
		t.mount.Source = m.Name
	}
	return nil
}

// isInside reports whether a path is a directory or inside of it.
func isInside(name, directory string) bool {
	return name == directory || strings.HasPrefix(name, strings.TrimSuffix(directory, "/")+"/")
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
	if err := r.repository.Load(ctx, p.Snapshot, p.Name, limitRate(ctx, r.limiter, io.MultiWriter(w, hash, count, r.progress))); err != nil {
		return err
	}
	if got := hex.EncodeToString(hash.Sum(nil)); got != p.SHA256 || count.n != p.Size {
		return hint.New(fmt.Errorf("%s has %d bytes with the SHA-256 %s; the manifest has %d with %s", p.Name, count.n, got, p.Size, p.SHA256), otherSet)
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
	return pipe(ctx, func(ctx context.Context, w io.Writer) error { return r.load(ctx, p, w) }, consume)
}

// pipe runs a consumer of what load writes. If load fails, the consumer's input ends with that error, and its context ends.
func pipe(ctx context.Context, load func(context.Context, io.Writer) error, consume func(context.Context, io.Reader) error) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	reader, writer := io.Pipe()
	loaded := make(chan error, 1)
	go func() {
		err := load(ctx, writer)
		// If the end is not that of the content, the consumer must not take it for one.
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

// stageAll writes the new content of all targets: that of several applications at the same time, because a stream occupies each of its processes only in part. A drill leaves that
// room to others.
func (r *restoreRun) stageAll(ctx context.Context) error {
	byApp := make(map[string][]*target)
	for _, t := range r.targets {
		if t.kind == Files && r.files[t.app] == nil {
			r.files[t.app] = newFileNames()
		}
		app := t.app
		if r.isDrill {
			app = ""
		}
		byApp[app] = append(byApp[app], t)
	}
	r.progress.expect(r.stagedSize())
	defer r.progress.expect(0)
	group, ctx := errgroup.WithContext(ctx)
	for _, targets := range byApp {
		group.Go(func() error {
			for _, t := range targets {
				step := r.progress.beginStep("%s: stage %s", t.app, t.name())
				if err := r.stage(ctx, t); err != nil {
					return fmt.Errorf("stage %s: %w", t.name(), err)
				}
				r.progress.endStep(step, "%s: staged %s", t.app, t.name())
			}
			return nil
		})
	}
	return group.Wait()
}

// stagedSize returns the bytes of the parts that are going to be read.
func (r *restoreRun) stagedSize() (total int64) {
	for _, t := range r.targets {
		for _, p := range t.parts {
			isDump, isCopy := p.Format == FormatSQL || p.Format == FormatPgDump, slices.Contains([]string{FormatMbstream, FormatBinlog, FormatBaseTar, FormatWALTar}, p.Format)
			if !(isDump && !r.Logical || isCopy && r.Logical) {
				total += p.Size
			}
		}
	}
	return total
}

// stage writes the new content of a directory beside the old one, and brings it to the instant of the set.
func (r *restoreRun) stage(ctx context.Context, t *target) error {
	if _, err := r.helper.volume(ctx, t.journalTarget(), nil, "begin"); err != nil {
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
	return r.pipe(ctx, p, func(ctx context.Context, stdin io.Reader) error {
		names, wait := r.files[t.app].tee()
		_, err := r.helper.volume(ctx, t.journalTarget(), io.TeeReader(stdin, names), "extract")
		_ = names.CloseWithError(err)
		return errors.Join(err, wait())
	})
}

// stagedName is the name of the directory in which package volume stages the new content.
const stagedName = ".edge-restore-new"

// stageMariaDB extracts the physical copy, prepares it, and rolls it forward to the position of the dump, or to a later time.
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
rm -rf backup-my.cnf xtrabackup_* mariadb_backup_* "$logs"
`
	d := t.database
	binlog, hasBinlog := t.part(FormatBinlog)
	if !hasBinlog || d.Position == d.PhysicalPosition && len(t.logs) == 0 {
		return r.helper.script(ctx, t, "mysql", nil, prepare+"logs=\n"+clean)
	}
	_, first, _ := strings.Cut(d.PhysicalPosition, ":")
	_, last, _ := strings.Cut(d.Position, ":")
	end := "--stop-position=" + last
	if !r.At.IsZero() {
		end = "--stop-datetime=" + quoteShell(r.At.UTC().Format(time.DateTime))
	}
	if err := r.helper.script(ctx, t, "mysql", nil, prepare); err != nil { // it takes longer than a stream may stall
		return err
	}
	return r.pipeLogs(ctx, t, binlog, func(ctx context.Context, stdin io.Reader) error {
		// Statements about accounts need the tables of privileges.
		return r.helper.script(ctx, t, "mysql", stdin, "staged="+quoteShell(staged)+joinLogs+mariadbServer+`
start_server --defaults-file="$staged/backup-my.cnf" --skip-grant-tables
{ echo 'FLUSH PRIVILEGES;'; TZ=UTC "$(command -v mariadb-binlog || command -v mysqlbinlog)" --no-defaults --start-position=`+first+` `+end+` "$logs"/* || touch /tmp/failed; } | client
[ ! -e /tmp/failed ]
kill "$(cat /tmp/server.pid)"
wait $server
`+clean)
	})
}

// mariadbServer has shell functions that run a server on the staged directory, for this container alone.
const mariadbServer = `
client() { "$(command -v mariadb || command -v mysql)" --no-defaults --socket=/tmp/server.sock --user=root --binary-mode --max-allowed-packet=1G "$@"; }
start_server() { # the first argument says which defaults it reads
	as_user "$(command -v mariadbd || command -v mysqld)" "$@" --datadir="$staged" --max-allowed-packet=1G --skip-networking --socket=/tmp/server.sock \
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
	end, mayEndBefore := "-c recovery_target_inclusive=off -c recovery_target_lsn="+t.database.Position, strconv.FormatBool(t.database.Standby || !t.database.SameInstant)
	if !r.At.IsZero() {
		mayEndBefore = "true"
		end = "-c recovery_target_inclusive=off -c recovery_target_time=" + quoteShell(r.At.UTC().Format("2006-01-02T15:04:05")+"+00")
	}
	return r.pipeLogs(ctx, t, wal, func(ctx context.Context, stdin io.Reader) error {
		return r.helper.script(ctx, t, "postgres", stdin, "staged="+quoteShell(staged)+joinLogs+`
segment=$(LC_ALL=C pg_controldata "$staged" | sed -n 's/^Bytes per WAL segment: *//p')
for file in "$logs"/*; do truncate -s "$segment" "$file"; done
rm -f "$staged/standby.signal"
# The copy has no standby, for which commits would wait, and nothing that would let it take writes (compose.replica.yaml).
sed -i '/^ *synchronous_standby_names/d; /^ *default_transaction_read_only/d' "$staged/postgresql.auto.conf"
touch "$staged/recovery.signal"
chown postgres "$staged/recovery.signal"
cp "$staged/postgresql.auto.conf" /tmp/auto.conf
server() {
	as_user "$(command -v pg_ctl)" --pgdata "$staged" --wait --timeout 3600 --log /tmp/log "$@" >/tmp/ctl 2>&1
}
state() { LC_ALL=C pg_controldata "$staged" | sed -n 's/^Database cluster state: *//p'; }
fail() { grep -h 'FATAL\|ERROR' /tmp/log >&2; tail -n 2 /tmp/ctl >&2; tail -n 20 /tmp/log >&2; exit 1; }
recover() { # the arguments say where it ends
	server start --options "-c listen_addresses= -c unix_socket_directories=/tmp -c archive_mode=off -c hot_standby=off -c synchronous_standby_names= -c ssl=off -c restore_command='cp $logs/%f %p' -c recovery_target_action=promote $*" || return 1
	tries=0
	# The signal file goes before the recovery has ended: a server that is stopped in between would, at its next start, replay all of its log.
	until state | grep -q '^in production$'; do
		[ -e "$staged/postmaster.pid" ] || return 1
		tries=$((tries + 1)); [ $tries -lt 36000 ] || { echo 'the recovery does not end' >&2; exit 1; }
		sleep 0.1
	done
}
if ! recover "`+end+`"; then
	# Nothing was committed between the end of the log and that time. A position is in the log, unless a standby had received nothing after it, or the log is not logical: then it is its end.
	`+mayEndBefore+` || fail
	grep -q 'recovery ended before configured recovery target was reached' /tmp/log || fail
	while [ -e "$staged/postmaster.pid" ]; do sleep 0.1; done
	: >/tmp/log
	recover || fail
fi
server stop --mode fast || fail
[ "$(state)" = 'shut down' ] || { echo "the recovery has not ended: $(state)" >&2; fail; }
cp /tmp/auto.conf "$staged/postgresql.auto.conf"
rm -rf "$logs"
`)
	})
}

// stageRedis leaves Redis empty, unless its content was asked for: old jobs in its queues would be done again.
func (r *restoreRun) stageRedis(ctx context.Context, t *target) error {
	if !r.Queues {
		return nil
	}
	p, _ := t.part(FormatRDB)
	staged := path.Join(t.directory, stagedName)
	return r.pipe(ctx, p, func(ctx context.Context, stdin io.Reader) error {
		return r.helper.script(ctx, t, "redis", stdin, "staged="+quoteShell(staged)+" append_only="+quoteShell(p.AppendOnly)+`
cat >"$staged/dump.rdb"
case "$append_only" in
"") ;;
*/*) # since Redis 7: a list of files, of which the first may be a snapshot
	mkdir "$staged/$(dirname "$append_only")"
	base=$(basename "$append_only")
	cp "$staged/dump.rdb" "$staged/$append_only.1.base.rdb"
	: >"$staged/$append_only.1.incr.aof"
	printf 'file %s seq 1 type b\nfile %s seq 1 type i\n' "$base.1.base.rdb" "$base.1.incr.aof" >"$staged/$append_only.manifest" ;;
*) cp "$staged/dump.rdb" "$staged/$append_only" ;; # it may begin with a snapshot
esac
chown -R redis:redis "$staged"
chmod -R u=rwX,go= "$staged"`)
	})
}
