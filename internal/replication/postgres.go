package replication

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/stdlib"
)

// replicaName is the name of PostgreSQL's replica, and of its replication slot.
const replicaName = "replica"

// catchUpBytes is how much of the log a replica may lack when commits begin to wait for it.
const catchUpBytes = 16 << 20

// postgres implements [Server].
type postgres struct {
	db *sql.DB

	mu        sync.Mutex
	reply     string    // the time that the replica has sent last, by its own clock
	repliedAt time.Time // when that came, by this machine's clock
}

func openPostgres(c *Config, host string) (Server, error) {
	config, err := pgx.ParseConfig("sslmode=disable")
	if err != nil {
		return nil, err
	}
	// TLS is around the protocol, not within it.
	config.Host, config.Port = "corteza-db", 5432
	config.User, config.Password, config.Database = c.postgresUser, c.postgresPassword, c.postgresName
	config.RuntimeParams["application_name"] = "edge-replication"
	// A connection for replication, which can be had also if commits that wait use up all others. It takes no parameters apart from the statement.
	config.RuntimeParams["replication"] = "database"
	config.DefaultQueryExecMode = pgx.QueryExecModeSimpleProtocol
	config.RuntimeParams["synchronous_commit"] = "local" // what this program writes must not wait for the replica
	config.DialFunc = func(ctx context.Context, _, _ string) (net.Conn, error) { return c.dial(ctx, host, "corteza-db") }
	config.LookupFunc = func(_ context.Context, host string) ([]string, error) { return []string{host}, nil }
	db := stdlib.OpenDB(*config)
	keepOne(db)
	return &postgres{db: db}, nil
}

// keepOne has a pool keep one connection.
func keepOne(db *sql.DB) {
	db.SetMaxOpenConns(1)
	db.SetMaxIdleConns(1)
}

// Close implements [Server].
func (p *postgres) Close() { _ = p.db.Close() }

// Primary implements [Server]. Whether it takes writes is what compose.replica.yaml has set in its files: a setting of a role or a database is somebody else's.
func (p *postgres) Primary(ctx context.Context) (s PrimaryState, err error) {
	err = p.db.QueryRowContext(ctx, `
		SELECT pg_is_in_recovery(), current_setting('synchronous_standby_names') <> '', coalesce((
			SELECT bool_or(setting::bool) FROM pg_file_settings WHERE name = 'default_transaction_read_only' AND applied
		), false)`).Scan(&s.IsReplica, &s.IsSynchronous, &s.IsReadOnly)
	if err != nil || s.IsReplica {
		return s, err
	}
	var isStreaming, isSync sql.NullBool
	var confirmed sql.NullInt64
	var wait sql.NullFloat64
	var reply sql.NullString
	err = p.db.QueryRowContext(ctx, `
		SELECT pg_current_wal_lsn()::text, ('x' || left(pg_walfile_name(pg_current_wal_lsn()), 8))::bit(32)::bigint,
			(SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'SyncRep'), r.streaming, r.sync, r.confirmed, r.wait, r.reply
		FROM (SELECT 1) one LEFT JOIN LATERAL (
			SELECT state = 'streaming' AND pg_wal_lsn_diff(pg_current_wal_lsn(), flush_lsn) < $1 AS streaming, sync_state = 'sync' AS sync,
				pg_wal_lsn_diff(flush_lsn, '0/0')::bigint AS confirmed, extract(epoch FROM flush_lag)::float8 AS wait, reply_time::text AS reply
			FROM pg_stat_replication WHERE application_name = $2 ORDER BY backend_start DESC LIMIT 1
		) r ON true`, catchUpBytes, replicaName).Scan(&s.Position, &s.Generation, &s.Waiting, &isStreaming, &isSync, &confirmed, &wait, &reply)
	s.Confirmed = confirmed.Int64
	if s.IsSynchronous { // else nothing waits for the replica
		s.Wait = seconds(wait.Float64)
	}
	s.IsConnected = isStreaming.Bool && p.hasReplied(reply.String, time.Now())
	s.IsInSync = s.IsSynchronous && s.IsConnected && isSync.Bool
	return s, err
}

// hasReplied reports whether the replica has sent something lately: by this machine's clock, since that of the replica may be another.
func (p *postgres) hasReplied(reply string, now time.Time) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if reply != p.reply {
		p.reply, p.repliedAt = reply, now
	}
	return reply != "" && now.Sub(p.repliedAt) < lostAfter/2
}

// Replica implements [Server].
func (p *postgres) Replica(ctx context.Context) (s ReplicaState, err error) {
	var position, status sql.NullString
	var lag float64
	var started float64
	var generation sql.NullInt64
	err = p.db.QueryRowContext(ctx, `
		SELECT pg_is_in_recovery(), CASE WHEN NOT pg_is_in_recovery() THEN ('x' || left(pg_walfile_name(pg_current_wal_lsn()), 8))::bit(32)::bigint END, greatest(pg_last_wal_receive_lsn(), pg_last_wal_replay_lsn())::text, (SELECT status FROM pg_stat_wal_receiver),
			CASE WHEN coalesce(pg_last_wal_receive_lsn() <= pg_last_wal_replay_lsn(), true) THEN 0
			ELSE coalesce(extract(epoch FROM clock_timestamp() - pg_last_xact_replay_timestamp()), 0) END::float8,
			extract(epoch FROM pg_postmaster_start_time())::float8`).Scan(&s.IsReplica, &generation, &position, &status, &lag, &started)
	s.Started = time.Unix(int64(started), 0)
	s.IsWritable, s.Generation = !s.IsReplica, generation.Int64
	s.Position, s.IsConnected, s.Lag = position.String, status.String == "streaming", seconds(lag)
	if s.IsReplica && !s.IsConnected {
		s.Problem = "it does not receive from the primary"
	}
	return s, err
}

// SetSynchronous implements [Server].
func (p *postgres) SetSynchronous(ctx context.Context, isSynchronous bool) error {
	names := ""
	if isSynchronous {
		names = replicaName
		if err := p.createSlot(ctx); err != nil {
			return err
		}
	}
	// ALTER SYSTEM takes no parameters.
	return p.run(ctx, fmt.Sprintf("ALTER SYSTEM SET synchronous_standby_names = '%s'", names), "SELECT pg_reload_conf()")
}

// createSlot makes the slot by which a primary keeps what its replica has not received yet.
func (p *postgres) createSlot(ctx context.Context) error {
	return p.run(ctx, "SELECT pg_create_physical_replication_slot('"+replicaName+"') WHERE NOT EXISTS (SELECT FROM pg_replication_slots WHERE slot_name = '"+replicaName+"')")
}

// Settle has the checkpointer, which lets all other processes know whether they have to wait, read its settings: it does so before a checkpoint.
func (p *postgres) Settle(ctx context.Context) error { return p.run(ctx, "CHECKPOINT") }

// SetWritable implements [Server]. Transactions that begin from now on may write, in all sessions.
func (p *postgres) SetWritable(ctx context.Context) error {
	return p.run(ctx, "ALTER SYSTEM RESET default_transaction_read_only", "SELECT pg_reload_conf()")
}

// Reconnect implements [Server].
func (p *postgres) Reconnect(context.Context) error { return nil } // it tries by itself

// Has implements [Server].
func (p *postgres) Has(ctx context.Context, position string) (has bool, err error) {
	var isReplica bool
	var received sql.NullBool
	err = p.db.QueryRowContext(ctx, "SELECT pg_is_in_recovery(), greatest(pg_last_wal_receive_lsn(), pg_last_wal_replay_lsn()) >= $1::pg_lsn", position).Scan(&isReplica, &received)
	if err == nil && !isReplica {
		err = errNotReplica
	}
	return received.Bool, err
}

// Tables implements [Server].
func (p *postgres) Tables(ctx context.Context) (n int, err error) {
	err = p.db.QueryRowContext(ctx, "SELECT count(*) FROM pg_tables WHERE schemaname NOT IN ('pg_catalog', 'information_schema')").Scan(&n)
	return n, err
}

// Promote implements [Server].
func (p *postgres) Promote(ctx context.Context) error {
	var isReplica bool
	if err := p.db.QueryRowContext(ctx, "SELECT pg_is_in_recovery()").Scan(&isReplica); err != nil {
		return err
	}
	if isReplica {
		var isPromoted bool
		if err := p.db.QueryRowContext(ctx, "SELECT pg_promote(true, 300)").Scan(&isPromoted); err != nil {
			return err
		}
		if !isPromoted {
			return errors.New("it was not promoted within 300 s")
		}
	}
	return errors.Join(p.SetSynchronous(ctx, false), p.SetWritable(ctx)) // it may have been started again since it was promoted
}

// Follow has nothing to set: the copy itself says that it is a replica.
func (p *postgres) Follow(ctx context.Context, _ string) error {
	s, err := p.Replica(ctx)
	if err == nil && !s.IsReplica {
		err = errNotReplica
	}
	if err == nil && !s.IsConnected {
		err = errors.New(s.Problem)
	}
	return err
}

func (p *postgres) run(ctx context.Context, statements ...string) error {
	for _, s := range statements {
		if _, err := p.db.ExecContext(ctx, s); err != nil {
			return err
		}
	}
	return nil
}

func seconds(s float64) time.Duration { return time.Duration(max(0, s) * float64(time.Second)) }
