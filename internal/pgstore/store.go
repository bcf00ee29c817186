// Package pgstore keeps certificates, keys and locks in PostgreSQL, for several edges that share them: certmagic's Storage
// with everything that it promises, encrypted.
package pgstore

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"
)

// Options are where and how a [Store] keeps things.
type Options struct {
	DSN   string   // a URL or a list of key=value, as libpq takes it; empty: the environment's PG*
	Keys  []string // 32 bytes each, in hexadecimal or base64: the first encrypts, all decrypt
	Table string   // a name, with a schema or without; the locks are in the table NAME_locks

	// How long a lock outlives an edge that has crashed.
	Lease time.Duration
	// How long an operation goes on trying while the database can't be reached.
	Patience time.Duration
}

// Store implements certmagic.Storage and certmagic.TryLocker. It connects when it is first used, and again by itself when
// the database was away. It is safe for concurrent use, by several processes too.
//
// Values are encrypted; names of keys are not, and show which sites there are.
type Store struct {
	o      Options
	pool   *pgxpool.Pool
	values string // tables, quoted
	locks  string
	seal   *sealer

	readyMu sync.Mutex
	ready   bool

	heldMu sync.Mutex
	held   map[string]*lock
}

var tableName = regexp.MustCompile(`^[a-z_][a-z0-9_]*(\.[a-z_][a-z0-9_]*)?$`)

// New checks the options. It connects to nothing.
func New(o Options) (*Store, error) {
	if !tableName.MatchString(o.Table) {
		return nil, fmt.Errorf("table %q: want a name of small letters, digits and _, such as edge_storage or edge.storage", o.Table)
	}
	if o.Lease < time.Second || o.Patience < 0 {
		return nil, errors.New("lease: want at least 1s")
	}
	seal, err := newSealer(o.Keys)
	if err != nil {
		return nil, err
	}
	config, err := pgxpool.ParseConfig(o.DSN)
	if err != nil {
		// The library's message has the DSN without its password.
		return nil, fmt.Errorf("dsn: want postgres://USER:PASSWORD@HOST:5432/DATABASE: %w", err)
	}
	config.MaxConns = 4 // certificates are read at the start, and written every few weeks
	config.ConnConfig.ConnectTimeout = 5 * time.Second
	config.ConnConfig.RuntimeParams["application_name"] = "edge"
	pool, err := pgxpool.NewWithConfig(context.Background(), config)
	if err != nil {
		return nil, err
	}
	values := pgx.Identifier(splitName(o.Table))
	locks := pgx.Identifier(splitName(o.Table + "_locks"))
	return &Store{
		o: o, pool: pool, values: values.Sanitize(), locks: locks.Sanitize(), seal: seal, held: make(map[string]*lock),
	}, nil
}

func splitName(name string) []string {
	for i := range name {
		if name[i] == '.' {
			return []string{name[:i], name[i+1:]}
		}
	}
	return []string{name}
}

// Close ends all connections. Locks that are held stay until their lease is over.
func (s *Store) Close() {
	s.heldMu.Lock()
	for name, l := range s.held {
		l.stop()
		delete(s.held, name)
	}
	s.heldMu.Unlock()
	s.pool.Close()
}

// String says where things are kept, for logs, without the password.
func (s *Store) String() string {
	c := s.pool.Config().ConnConfig
	return fmt.Sprintf("postgres:%s:%d/%s, table %s", c.Host, c.Port, c.Database, s.o.Table)
}

// setup serializes the creation of the tables among edges that start at once.
const setup = 0x65646765 // "edge"

// prepare makes the tables, if they are missing, and sees that what is in them can be read with our keys: an edge with
// another key must not take the certificates for missing, and write over them.
func (s *Store) prepare(ctx context.Context) error {
	s.readyMu.Lock()
	defer s.readyMu.Unlock()
	if s.ready {
		return nil
	}
	err := pgx.BeginFunc(ctx, s.pool, func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, "SELECT pg_advisory_xact_lock($1)", setup); err != nil {
			return err
		}
		for _, statement := range []string{
			"CREATE TABLE IF NOT EXISTS " + s.values + ` (
				key      text PRIMARY KEY,
				value    bytea NOT NULL,
				size     bigint NOT NULL,
				modified timestamptz NOT NULL DEFAULT clock_timestamp())`,
			"CREATE TABLE IF NOT EXISTS " + s.locks + ` (
				name    text PRIMARY KEY,
				holder  text NOT NULL,
				expires timestamptz NOT NULL)`,
		} {
			if _, err := tx.Exec(ctx, statement); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("prepare the table %s: %w", s.o.Table, err)
	}
	var key string
	var sealed []byte
	err = s.pool.QueryRow(ctx, "SELECT key, value FROM "+s.values+" ORDER BY modified DESC LIMIT 1").Scan(&key, &sealed)
	if err == nil {
		_, err = s.seal.open(key, sealed)
	}
	if err != nil && !errors.Is(err, pgx.ErrNoRows) {
		return fmt.Errorf("read what the table %s has: %w", s.o.Table, err)
	}
	s.ready = true
	return nil
}

const (
	firstPause   = 50 * time.Millisecond
	longestPause = time.Second
)

// do runs an operation, which must be one that can be repeated, and repeats it while the database is away.
func (s *Store) do(ctx context.Context, what string, operation func(context.Context) error) error {
	giveUp := time.Now().Add(s.o.Patience)
	for pause := firstPause; ; pause = min(2*pause, longestPause) {
		err := s.prepare(ctx)
		if err == nil {
			err = operation(ctx)
		}
		if err == nil || !away(err) || ctx.Err() != nil || time.Now().After(giveUp) {
			if err != nil {
				return fmt.Errorf("%s: %w", what, err)
			}
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%s: %w", what, ctx.Err())
		case <-time.After(pause):
		}
	}
}

// away reports whether an error means that the database can't be reached now, and may be later.
func away(err error) bool {
	refusal, answered := errors.AsType[*pgconn.PgError](err)
	if !answered {
		// None of these is about the connection; all else that the server didn't say is.
		return !errors.Is(err, pgx.ErrNoRows) && !errors.Is(err, errUnreadable) && !errors.Is(err, errLost)
	}
	switch refusal.Code[:2] {
	case "08", "57", "53": // connection exception, operator intervention, insufficient resources
		return true
	}
	return refusal.Code == "40001" || refusal.Code == "40P01" // serialization failure, deadlock
}
