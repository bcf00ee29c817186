// Package pgstorage keeps certificates, keys and locks in PostgreSQL, for several edges that share them: certmagic's Storage
// with everything that it promises, encrypted.
package pgstorage

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"sync"
	"sync/atomic"
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
	RetryTimeout time.Duration
}

// Store implements certmagic.Storage and certmagic.TryLocker. It connects when it is first used, and again by itself when
// the database was away. It is safe for concurrent use, by several processes too.
//
// Values are encrypted; names of keys are not, and show which sites there are.
type Store struct {
	opts        Options
	pool        *pgxpool.Pool
	valuesTable string // tables, quoted
	locksTable  string
	sealer      *sealer

	prepareSem chan struct{} // holds one token: whoever has it prepares
	prepared   atomic.Bool
	closed     atomic.Bool

	heldMu    sync.Mutex
	heldLocks map[string]*lock
}

var tableName = regexp.MustCompile(`^[a-z_][a-z0-9_]*(\.[a-z_][a-z0-9_]*)?$`)

// New checks the options. It connects to nothing.
func New(o Options) (*Store, error) {
	if !tableName.MatchString(o.Table) {
		return nil, fmt.Errorf("table %q: want a name of small letters, digits and _, such as edge_storage or edge.storage", o.Table)
	}
	if o.Lease < time.Second {
		return nil, fmt.Errorf("lease %s: want at least 1s", o.Lease)
	}
	if o.RetryTimeout < 0 {
		return nil, fmt.Errorf("patience %s: it can't be negative", o.RetryTimeout)
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
		opts: o, pool: pool, valuesTable: values.Sanitize(), locksTable: locks.Sanitize(), sealer: seal, heldLocks: make(map[string]*lock),
		prepareSem: make(chan struct{}, 1),
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

// ReleaseLocks releases all locks that this process holds, for others not to have to wait until their leases are over. It
// takes no longer than goodbye.
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
		_, _ = s.pool.Exec(ctx, "DELETE FROM "+s.locksTable+" WHERE holder = ANY($1)", holders) // else they end with their leases
	}
}

// releaseTimeout is how long a store that ends tries to give back its locks.
const releaseTimeout = 2 * time.Second

// Close gives back the locks and ends the connections, which takes longer if the database has fallen silent. What still uses
// the store fails.
func (s *Store) Close() {
	s.ReleaseLocks()
	s.closed.Store(true)
	s.pool.Close()
}

// String says where things are kept, for logs, without the password.
func (s *Store) String() string {
	c := s.pool.Config().ConnConfig
	return fmt.Sprintf("postgres:%s:%d/%s, table %s", c.Host, c.Port, c.Database, s.opts.Table)
}

const (
	minBackoff = 50 * time.Millisecond
	maxBackoff = time.Second
)

// minAttemptTimeout is what an operation is given at the least, however little patience there is.
const minAttemptTimeout = 2 * time.Second

// withRetry runs an operation, and again while the database is away, as long as patience lasts. An answer that doesn't come is given
// up then, too: packets that vanish end no connection.
func (s *Store) withRetry(ctx context.Context, what string, operation func(context.Context) error) error {
	giveUp := time.Now().Add(s.opts.RetryTimeout)
	for pause := minBackoff; ; pause = min(2*pause, maxBackoff) {
		try, cancel := context.WithTimeout(ctx, max(time.Until(giveUp), minAttemptTimeout))
		err := s.prepare(try)
		if err == nil {
			err = operation(try)
		}
		cancel()
		switch {
		case err == nil:
			return nil
		case !isTransient(err) || ctx.Err() != nil || s.closed.Load() || time.Now().After(giveUp):
			return fmt.Errorf("%s: %w", what, err)
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%s: %w", what, errors.Join(ctx.Err(), err))
		case <-time.After(pause):
		}
	}
}

// isTransient reports whether an error means that the database can't be reached now, and may be later.
func isTransient(err error) bool {
	refusal, answered := errors.AsType[*pgconn.PgError](err)
	if !answered {
		// None of these is about the connection; all else that the server didn't say is.
		return !errors.Is(err, pgx.ErrNoRows) && !errors.Is(err, errUnreadable) && !errors.Is(err, errLockLost)
	}
	switch refusal.Code[:2] {
	case "08", "57", "53": // connection exception, operator intervention, insufficient resources
		return true
	}
	return refusal.Code == "40001" || refusal.Code == "40P01" // serialization failure, deadlock
}
