package backup

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"

	"github.com/theworklabs/edge/internal/dblog"
)

// runningLog is the log of a database that runs.
type runningLog struct {
	*container
	directory string
	files     []dblog.Piece // from 0 to their sizes, in the order of the log
	current   dblog.Position
	segment   int64  // the size of PostgreSQL's files
	timeline  string // the beginning of their names
}

// errNoLog says that a database writes no log with which it could be rolled forward.
var errNoLog = errors.New("the database writes no log")

// readMariaDBLog reads where the binary log is.
func readMariaDBLog(ctx context.Context, c *container) (*runningLog, error) {
	var out strings.Builder
	_, err := c.run(ctx, nil, &out, mariadbLogin+`
query() { `+mariadbClient+` --batch --skip-column-names --execute "$1"; }
base=$(query 'SELECT @@log_bin_basename')
if [ "$base" != NULL ]; then
	cd "$(query 'SELECT @@datadir')"
	[ "$(dirname "$base")" = "$(pwd)" ] || { echo 'the binary log is not in the data directory, and would survive a restore' >&2; exit 1; }
	pwd
	status=$(query 'SHOW MASTER STATUS')
	echo "$status" | awk '{ print $1, $2 }'
	for file in $(ls | sed -n '/\.[0-9][0-9]*$/p'); do
		case "$file" in "$(basename "$base")".*) echo "$file $(wc -c <"$file")" ;; esac
	done
fi`)
	if err != nil {
		return nil, err
	}
	lines := strings.Split(strings.TrimSpace(out.String()), "\n")
	if len(lines) < 3 {
		return nil, errNoLog
	}
	l := &runningLog{container: c, directory: lines[0]}
	for i, line := range lines[1:] {
		name, number, _ := strings.Cut(line, " ")
		n, err := strconv.ParseInt(number, 10, 64)
		if err != nil {
			return nil, fmt.Errorf("read the binary log of %s: got %q", c.service, line)
		}
		if i == 0 {
			l.current = dblog.Position{File: name, Offset: n}
		} else {
			l.files = append(l.files, dblog.Piece{File: name, To: n})
		}
	}
	return l, nil
}

// readPostgresLog reads where the write-ahead log is. Whether it is complete from one backup to the next depends on wal_keep_size alone: a
// replication slot would fill the disk if nobody read it.
func readPostgresLog(ctx context.Context, c *container) (*runningLog, error) {
	var out strings.Builder
	_, err := c.run(ctx, nil, &out, postgresLogin+`
query() { `+psql+` --command "$1"; }
directory=$(query 'SHOW data_directory')/pg_wal
echo "$directory"
query "SELECT CASE WHEN pg_is_in_recovery() THEN upper(lpad(to_hex(timeline_id), 8, '0')) ELSE substr(pg_walfile_name(pg_current_wal_insert_lsn()), 1, 8) END, CASE WHEN pg_is_in_recovery() THEN COALESCE(pg_last_wal_receive_lsn(), pg_last_wal_replay_lsn()) ELSE pg_current_wal_flush_lsn() END, setting FROM pg_control_checkpoint(), pg_settings WHERE name = 'wal_segment_size'"
ls "$directory" | grep -E '^[0-9A-F]{24}$'`)
	if err != nil {
		return nil, err
	}
	lines := strings.Split(strings.TrimSpace(out.String()), "\n")
	if len(lines) < 3 {
		return nil, fmt.Errorf("read the write-ahead log of %s: got %q", c.service, out.String())
	}
	fields := strings.Split(lines[1], "\t")
	if len(fields) != 3 {
		return nil, fmt.Errorf("read the write-ahead log of %s: got %q", c.service, lines[1])
	}
	l := &runningLog{container: c, directory: lines[0], timeline: fields[0]}
	if l.segment, err = strconv.ParseInt(fields[2], 10, 64); err != nil {
		return nil, err
	}
	if l.current, err = l.locate(fields[1]); err != nil {
		return nil, err
	}
	for _, name := range lines[2:] { // those of the future are old files that will be written again
		if strings.HasPrefix(name, l.timeline) && name <= l.current.File {
			l.files = append(l.files, dblog.Piece{File: name, To: l.segment})
		}
	}
	l.current = l.existing(l.current)
	return l, nil
}

// existing returns a position in PostgreSQL's log as the end of its last file, if it is at the beginning of one that does not exist yet.
func (l *runningLog) existing(p dblog.Position) dblog.Position {
	if n := len(l.files); l.segment > 0 && n > 0 && p.Offset == 0 && l.files[n-1].File < p.File {
		return dblog.Position{File: l.files[n-1].File, Offset: l.segment}
	}
	return p
}

// locate returns where a position of PostgreSQL's log, such as 0/1A2B3C4D, is in its files.
func (l *runningLog) locate(lsn string) (dblog.Position, error) {
	high, low, found := strings.Cut(lsn, "/")
	h, highErr := strconv.ParseUint(high, 16, 32)
	n, lowErr := strconv.ParseUint(low, 16, 32)
	if !found || highErr != nil || lowErr != nil || l.segment <= 0 {
		return dblog.Position{}, fmt.Errorf("%q is not a position of PostgreSQL's log", lsn)
	}
	position := h<<32 | n
	segment := position / uint64(l.segment)
	perName := uint64(1<<32) / uint64(l.segment)
	return dblog.Position{
		File:   fmt.Sprintf("%s%08X%08X", l.timeline, segment/perName, segment%perName),
		Offset: int64(position % uint64(l.segment)),
	}, nil
}

// readLog reads where the log of a source is.
func readLog(ctx context.Context, c *container, kind Kind) (*runningLog, error) {
	if kind == Postgres {
		return readPostgresLog(ctx, c)
	}
	return readMariaDBLog(ctx, c)
}

// marks returns the marks of positions; "" for one that the log does not have.
func (l *runningLog) marks(ctx context.Context, positions ...dblog.Position) ([]string, error) {
	var script, out strings.Builder
	fmt.Fprintf(&script, "cd %s\n", quoteShell(l.directory))
	for _, p := range positions {
		from := max(0, p.Offset-dblog.MarkSize)
		file := quoteShell(p.File)
		fmt.Fprintf(&script, "if [ -f %[1]s ] && [ \"$(wc -c <%[1]s)\" -ge %[2]d ]; then tail -c +%[3]d %[1]s | head -c %[4]d | sha256sum | cut -c 1-16; else echo -; fi\n",
			file, p.Offset, from+1, p.Offset-from)
	}
	if _, err := l.run(ctx, nil, &out, script.String()); err != nil {
		return nil, err
	}
	marks := strings.Fields(out.String())
	if len(marks) != len(positions) {
		return nil, fmt.Errorf("%s: read the log: got %q", l.service, out.String())
	}
	for i, m := range marks {
		if m == "-" {
			marks[i] = ""
		}
	}
	return marks, nil
}

// copyPieces calls add with each piece and its content.
func (l *runningLog) copyPieces(ctx context.Context, pieces []dblog.Piece, add func(dblog.Piece, io.Reader) error) error {
	var script strings.Builder
	fmt.Fprintf(&script, "cd %s\n", quoteShell(l.directory))
	for _, p := range pieces {
		fmt.Fprintf(&script, "tail -c +%d %s | head -c %d\n", p.From+1, quoteShell(p.File), p.To-p.From)
	}
	reader, writer := io.Pipe()
	ran := make(chan error, 1)
	go func() {
		_, err := l.run(ctx, nil, writer, script.String())
		_ = writer.CloseWithError(err)
		ran <- err
	}()
	var err error
	for _, p := range pieces {
		if err = add(p, io.LimitReader(reader, p.To-p.From)); err != nil {
			break
		}
	}
	_ = reader.CloseWithError(errors.Join(err, io.ErrClosedPipe))
	if runErr := <-ran; err == nil {
		err = runErr
	}
	return err
}

// markedSpan returns what a set says of its position in a database's log.
func (l *runningLog) markedSpan(ctx context.Context, p dblog.Position) (string, error) {
	p = l.existing(p)
	marks, err := l.marks(ctx, p)
	if err != nil || marks[0] == "" {
		return "", err
	}
	return dblog.Span{From: p, To: p, Mark: marks[0]}.String(), nil
}
