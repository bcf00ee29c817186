package replication

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"maps"
	"net"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/go-sql-driver/mysql"
)

// mariadb implements [Server].
type mariadb struct {
	db       *sql.DB
	password string // of root, which is the same on both hosts
	followed string // the position from which it was started by Follow
	waits    waits
}

func openMariaDB(c *Config, host string) (Server, error) {
	config := mysql.NewConfig()
	config.User, config.Passwd = "root", c.mariadbPassword
	config.Timeout = dialTimeout
	config.Logger = &mysql.NopLogger{} // what it would log is returned, too
	config.DialFunc = func(ctx context.Context, _, _ string) (net.Conn, error) { return c.dial(ctx, host, "bigcapital-mysql") }
	connector, err := mysql.NewConnector(config)
	if err != nil {
		return nil, err
	}
	db := sql.OpenDB(connector)
	keepOne(db)
	return &mariadb{db: db, password: c.mariadbPassword}, nil
}

// Close implements [Server].
func (m *mariadb) Close() { _ = m.db.Close() }

// Primary implements [Server].
func (m *mariadb) Primary(ctx context.Context) (s PrimaryState, err error) {
	replica, err := m.replicaStatus(ctx)
	if err != nil {
		return s, err
	}
	s.IsReplica = replica != nil
	var logged, applied string
	if err := m.db.QueryRowContext(ctx, "SELECT @@GLOBAL.read_only, @@GLOBAL.rpl_semi_sync_master_enabled, @@GLOBAL.gtid_binlog_pos, @@GLOBAL.gtid_slave_pos").Scan(&s.IsReadOnly, &s.IsSynchronous, &logged, &applied); err != nil {
		return s, err
	}
	s.Position = lastPosition(logged, applied)
	status, err := m.rows(ctx, "SHOW GLOBAL STATUS WHERE Variable_name IN ('Rpl_semi_sync_master_status', 'Rpl_semi_sync_master_clients', 'Rpl_semi_sync_master_wait_sessions', 'Rpl_semi_sync_master_yes_tx', 'Rpl_semi_sync_master_no_tx', 'Rpl_semi_sync_master_tx_wait_time', 'Rpl_semi_sync_master_tx_waits')")
	if err != nil {
		return s, err
	}
	value := make(map[string]string)
	for _, row := range status {
		value[strings.ToLower(row["Variable_name"])] = row["Value"]
	}
	s.IsConnected = value["rpl_semi_sync_master_clients"] != "0"
	s.IsInSync = s.IsSynchronous && s.IsConnected && value["rpl_semi_sync_master_status"] == "ON"
	s.Waiting, _ = strconv.Atoi(value["rpl_semi_sync_master_wait_sessions"])
	s.Confirmed, _ = strconv.ParseInt(value["rpl_semi_sync_master_yes_tx"], 10, 64)
	s.Unconfirmed, _ = strconv.ParseInt(value["rpl_semi_sync_master_no_tx"], 10, 64)
	microseconds, _ := strconv.ParseInt(value["rpl_semi_sync_master_tx_wait_time"], 10, 64)
	waits, _ := strconv.ParseInt(value["rpl_semi_sync_master_tx_waits"], 10, 64)
	s.Wait = m.waits.mean(time.Duration(microseconds)*time.Microsecond, waits)
	return s, nil
}

// Replica implements [Server].
func (m *mariadb) Replica(ctx context.Context) (s ReplicaState, err error) {
	status, err := m.replicaStatus(ctx)
	if err != nil {
		return s, err
	}
	if status == nil {
		var isReadOnly bool
		err := m.db.QueryRowContext(ctx, "SELECT @@GLOBAL.read_only").Scan(&isReadOnly)
		s.IsWritable = !isReadOnly
		return s, err
	}
	s.IsReplica = true
	s.IsConnected, s.IsStopped = status["Slave_IO_Running"] == "Yes", status["Slave_IO_Running"] == "No"
	uptime, err := m.rows(ctx, "SHOW GLOBAL STATUS LIKE 'Uptime'")
	if err != nil {
		return s, err
	}
	if len(uptime) == 1 {
		n, _ := strconv.Atoi(uptime[0]["Value"])
		s.Started = time.Now().Add(-time.Duration(n) * time.Second).Truncate(time.Second)
	}
	s.Position = status["Gtid_IO_Pos"]
	if lag, err := strconv.ParseFloat(status["Seconds_Behind_Master"], 64); err == nil {
		s.Lag = seconds(lag)
	}
	switch {
	case status["Last_SQL_Error"] != "":
		s.Problem = status["Last_SQL_Error"]
	case status["Last_IO_Error"] != "" && !s.IsConnected:
		s.Problem = status["Last_IO_Error"]
	case status["Slave_SQL_Running"] != "Yes":
		s.Problem = "it does not apply what it receives"
	case !s.IsConnected:
		s.Problem = "it does not receive from the primary"
	}
	return s, nil
}

// replicaStatus returns what a replica says of itself; nil if the server is none.
func (m *mariadb) replicaStatus(ctx context.Context) (map[string]string, error) {
	rows, err := m.rows(ctx, "SHOW REPLICA STATUS")
	if err != nil || len(rows) == 0 {
		return nil, err
	}
	return rows[0], nil
}

// rows returns the result of a statement, with the names of its columns.
func (m *mariadb) rows(ctx context.Context, statement string) ([]map[string]string, error) {
	rows, err := m.db.QueryContext(ctx, statement)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	names, err := rows.Columns()
	if err != nil {
		return nil, err
	}
	var all []map[string]string
	for rows.Next() {
		values, pointers := make([]sql.NullString, len(names)), make([]any, len(names))
		for i := range values {
			pointers[i] = &values[i]
		}
		if err := rows.Scan(pointers...); err != nil {
			return nil, err
		}
		row := make(map[string]string)
		for i, name := range names {
			row[name] = values[i].String
		}
		all = append(all, row)
	}
	return all, rows.Err()
}

// lastPosition returns the last commit of each domain in two positions, such as 0-1-17,1-2-4: domain, server, number. A server that has just been made of a copy has no
// log of its own, and gtid_current_pos leaves out what the log has from before a change of server_id.
func lastPosition(positions ...string) string {
	last, numbers := make(map[string]string), make(map[string]uint64)
	for gtid := range strings.SplitSeq(strings.Join(positions, ","), ",") {
		parts := strings.Split(strings.TrimSpace(gtid), "-")
		if len(parts) != 3 {
			continue
		}
		if n, err := strconv.ParseUint(parts[2], 10, 64); err == nil && n >= numbers[parts[0]] {
			last[parts[0]], numbers[parts[0]] = strings.Join(parts, "-"), n
		}
	}
	return strings.Join(slices.Sorted(maps.Values(last)), ",")
}

// SetSynchronous implements [Server].
func (m *mariadb) SetSynchronous(ctx context.Context, isSynchronous bool) error {
	value := "0"
	if isSynchronous {
		value = "1"
	}
	return m.run(ctx, "SET GLOBAL rpl_semi_sync_master_enabled = "+value)
}

// Settle implements [Server].
func (m *mariadb) Settle(context.Context) error { return nil }

// SetWritable implements [Server].
func (m *mariadb) SetWritable(ctx context.Context) error {
	return m.run(ctx, "SET GLOBAL read_only = 0")
}

// Reconnect implements [Server].
func (m *mariadb) Reconnect(ctx context.Context) error {
	stopErr := m.run(ctx, "STOP REPLICA IO_THREAD") // may take as long as ctx
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), queryTimeout)
	defer cancel()
	return errors.Join(stopErr, m.run(ctx, "START REPLICA IO_THREAD", "START REPLICA SQL_THREAD"))
}

// Has implements [Server].
func (m *mariadb) Has(ctx context.Context, position string) (bool, error) {
	status, err := m.replicaStatus(ctx)
	if err != nil {
		return false, err
	}
	if status == nil {
		return false, errNotReplica
	}
	var result sql.NullInt64
	err = m.db.QueryRowContext(ctx, "SELECT MASTER_GTID_WAIT(?, 0)", position).Scan(&result)
	return result.Valid && result.Int64 == 0, err
}

// Tables implements [Server].
func (m *mariadb) Tables(ctx context.Context) (n int, err error) {
	err = m.db.QueryRowContext(ctx, "SELECT COUNT(*) FROM information_schema.TABLES WHERE TABLE_SCHEMA NOT IN ('information_schema', 'performance_schema', 'sys', 'mysql')").Scan(&n)
	return n, err
}

// Promote implements [Server].
func (m *mariadb) Promote(ctx context.Context) error {
	status, err := m.replicaStatus(ctx)
	if err != nil {
		return err
	}
	if status != nil {
		// It stops to receive only when it applies what it has: if both threads are stopped, the start of one discards what was received.
		if err := m.applyAll(ctx); err != nil {
			return err
		}
		if err := m.run(ctx, "STOP REPLICA IO_THREAD"); err != nil {
			return err
		}
		if err := m.applyAll(ctx); err != nil { // what it has received meanwhile
			return err
		}
		if err := m.run(ctx, "STOP REPLICA", "RESET REPLICA ALL"); err != nil {
			return err
		}
	}
	if err := m.SetSynchronous(ctx, false); err != nil {
		return err
	}
	return m.SetWritable(ctx)
}

// errBothStopped says that a replica neither receives nor applies.
var errBothStopped = errors.New("the replica neither receives nor applies what it has received, and would discard that if it was started: " +
	"SHOW REPLICA STATUS and its relay log have to be looked at by a person")

// applyAll waits until a replica has applied what it has received. It starts that if it is safe.
func (m *mariadb) applyAll(ctx context.Context) error {
	for attempt := 0; ; attempt++ {
		status, err := m.replicaStatus(ctx)
		if err != nil {
			return err
		}
		var applied string
		if err := m.db.QueryRowContext(ctx, "SELECT @@GLOBAL.gtid_slave_pos").Scan(&applied); err != nil {
			return err
		}
		switch {
		case status == nil:
			return errNotReplica
		case status["Slave_SQL_Running"] == "Yes":
			if received := status["Gtid_IO_Pos"]; received == "" || received == applied || strings.HasPrefix(status["Slave_SQL_Running_State"], "Slave has read all relay log") {
				return nil
			}
		case status["Slave_IO_Running"] == "No" && status["Gtid_IO_Pos"] == applied:
			return nil
		case status["Slave_IO_Running"] == "No":
			return errBothStopped
		case attempt > 20 && status["Last_SQL_Error"] != "":
			return fmt.Errorf("it cannot apply what it has received: %s", status["Last_SQL_Error"])
		default: // after an error, such as a full disk, it tries again
			if err := m.run(ctx, "START REPLICA SQL_THREAD"); err != nil {
				return err
			}
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-time.After(100 * time.Millisecond):
		}
	}
}

// Follow has the server receive from `peer`, which stands for the other host.
func (m *mariadb) Follow(ctx context.Context, position string) error {
	if position == "" {
		return errors.New("the copy has no position")
	}
	if m.followed != position { // otherwise it would apply again what it has applied since
		if err := m.point(ctx, position); err != nil {
			return err
		}
		m.followed = position
	}
	if err := m.run(ctx, "START REPLICA"); err != nil {
		return err
	}
	return m.awaitReceiver(ctx)
}

// point has a replica that does not run begin at a position of the other host.
func (m *mariadb) point(ctx context.Context, position string) error {
	// It has no replica for which its own commits could wait. None of these takes parameters.
	if err := m.run(ctx, "STOP REPLICA", "RESET REPLICA ALL", "SET GLOBAL read_only = 1", "SET GLOBAL rpl_semi_sync_master_enabled = 0", "SET GLOBAL gtid_slave_pos = "+quote(position)); err != nil {
		return err
	}
	if err := m.run(ctx, "CHANGE MASTER TO MASTER_HOST = 'peer', MASTER_PORT = 3306, MASTER_USER = 'root', MASTER_PASSWORD = "+quote(m.password)+
		", MASTER_USE_GTID = slave_pos, MASTER_CONNECT_RETRY = 1, MASTER_HEARTBEAT_PERIOD = 2"); err != nil {
		return errors.New("CHANGE MASTER failed: " + strings.ReplaceAll(err.Error(), m.password, "…"))
	}
	return nil
}

// followTimeout is how long a replica may take to connect.
const followTimeout = 3 * time.Second

// awaitReceiver waits until a replica that was started receives from its primary, and applies what it receives.
func (m *mariadb) awaitReceiver(ctx context.Context) error {
	for deadline := time.Now().Add(followTimeout); ; {
		s, err := m.Replica(ctx)
		if err != nil || s.IsConnected && s.Problem == "" {
			return err
		}
		if time.Now().After(deadline) {
			return errors.New(s.Problem)
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-time.After(100 * time.Millisecond):
		}
	}
}

// checkVersion fails if a primary that is killed could discard commits which its replica has (MDEV-33465).
func (m *mariadb) checkVersion(ctx context.Context) error {
	var version string
	if err := m.db.QueryRowContext(ctx, "SELECT VERSION()").Scan(&version); err != nil {
		return err
	}
	var major, minor, patch int
	if _, err := fmt.Sscanf(version, "%d.%d.%d", &major, &minor, &patch); err == nil && (major < 10 || major == 10 && (minor < 11 || minor == 11 && patch < 9)) {
		return fmt.Errorf("MariaDB %s may lose commits when it is killed: it has to be 10.11.9 or later", version)
	}
	return nil
}

// hostname returns the name of the machine, or container, of the server.
func (m *mariadb) hostname(ctx context.Context) (name string, err error) {
	err = m.db.QueryRowContext(ctx, "SELECT @@hostname").Scan(&name)
	return name, err
}

func (m *mariadb) run(ctx context.Context, statements ...string) error {
	for _, s := range statements {
		if _, err := m.db.ExecContext(ctx, s); err != nil {
			return err
		}
	}
	return nil
}

// quote writes a string literal of SQL.
func quote(text string) string {
	return "'" + strings.NewReplacer(`\`, `\\`, `'`, `\'`, "\n", `\n`, "\x00", `\0`).Replace(text) + "'"
}
