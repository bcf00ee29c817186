// Package pgstorage implements certmagic's Storage in PostgreSQL, encrypted, so that several edges can share their certificates,
// keys and locks.
package pgstorage

import (
	"context"
	"fmt"
	"regexp"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
)

// Options configure a [Store].
type Options struct {
	DSN   string   // a URL, or a list of key=value as in libpq; empty: the environment variables PG*
	Keys  []string // 32 bytes each, in hexadecimal or base64: the first encrypts, all decrypt
	Table string   // NAME or SCHEMA.NAME; the locks are in the table NAME_locks

	// How long a lock is held after its holder has crashed. At least a second.
	Lease time.Duration
	// How long an operation retries while the database can't be reached.
	RetryTimeout time.Duration
}

// Store implements certmagic.Storage and certmagic.TryLocker. It connects at its first use, and reconnects by itself. Methods may
// be called concurrently, and several processes may use the same table.
//
// Values are encrypted. Keys are not: they show which sites exist.
type Store struct {
	opts        Options
	pool        *pgxpool.Pool
	valuesTable string // quoted
	locksTable  string // quoted
	sealer      *sealer

	prepareSem chan struct{} // holds one token, for the goroutine that runs prepare
	prepared   atomic.Bool
	closed     atomic.Bool

	heldMu    sync.Mutex
	heldLocks map[string]*lock
}

var tableName = regexp.MustCompile(`^[a-z_][a-z0-9_]*(\.[a-z_][a-z0-9_]*)?$`)

// New checks the options and returns a store. It does not connect.
func New(o Options) (*Store, error) {
	if !tableName.MatchString(o.Table) {
		return nil, fmt.Errorf("table %q: want a name of lower-case letters, digits and _, such as edge_storage or edge.storage", o.Table)
	}
	if o.Lease < time.Second {
		return nil, fmt.Errorf("lease %s: want at least 1s", o.Lease)
	}
	if o.RetryTimeout < 0 {
		return nil, fmt.Errorf("retry_timeout %s: want a duration that is not negative", o.RetryTimeout)
	}
	valueSealer, err := newSealer(o.Keys)
	if err != nil {
		return nil, err
	}
	config, err := pgxpool.ParseConfig(o.DSN)
	if err != nil {
		// The error of pgxpool contains the DSN without its password.
		return nil, fmt.Errorf("dsn: want postgres://USER:PASSWORD@HOST:5432/DATABASE: %w", err)
	}
	config.MaxConns = 4 // certificates are read at the start and written every few weeks
	config.ConnConfig.ConnectTimeout = 5 * time.Second
	config.ConnConfig.RuntimeParams["application_name"] = "edge"
	pool, err := pgxpool.NewWithConfig(context.Background(), config)
	if err != nil {
		return nil, err
	}
	values := pgx.Identifier(splitName(o.Table))
	locks := pgx.Identifier(splitName(o.Table + "_locks"))
	return &Store{
		opts: o, pool: pool, valuesTable: values.Sanitize(), locksTable: locks.Sanitize(), sealer: valueSealer,
		prepareSem: make(chan struct{}, 1), heldLocks: make(map[string]*lock),
	}, nil
}

// splitName splits SCHEMA.NAME.
func splitName(name string) []string { return strings.SplitN(name, ".", 2) }

// ReleaseLocks releases all locks that this process holds, so that other edges need not wait until the leases expire. It returns
// within releaseTimeout.
func (s *Store) ReleaseLocks() {
	s.heldMu.Lock()
	var holders []string
	for name, l := range s.heldLocks {
		l.stop()
		holders = append(holders, l.holder)
		delete(s.heldLocks, name)
	}
	s.heldMu.Unlock()
	if len(holders) > 0 {
		ctx, cancel := context.WithTimeout(context.Background(), releaseTimeout)
		defer cancel()
		_, _ = s.pool.Exec(ctx, "DELETE FROM "+s.locksTable+" WHERE holder = ANY($1)", holders) // a lock that could not be released ends with its lease
	}
}

// releaseTimeout is how long ReleaseLocks waits for the database.
const releaseTimeout = 2 * time.Second

// Close releases the locks and closes the connections, which takes longer if the database does not answer. Operations that still
// use the store fail.
func (s *Store) Close() {
	s.ReleaseLocks()
	s.closed.Store(true)
	s.pool.Close()
}

// String returns the host, port, database and table for logs, without the password.
func (s *Store) String() string {
	c := s.pool.Config().ConnConfig
	return fmt.Sprintf("postgres:%s:%d/%s, table %s", c.Host, c.Port, c.Database, s.opts.Table)
}
