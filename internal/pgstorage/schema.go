package pgstorage

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"
)

// setupLockID is the advisory lock under which tables are made: two edges may start at once.
const setupLockID = 0x65646765 // "edge"

// prepare sees, once, that the tables are there, that what they hold can be read, and that the first key encrypts it.
func (s *Store) prepare(ctx context.Context) error {
	if s.prepared.Load() {
		return nil
	}
	select {
	case s.prepareSem <- struct{}{}:
		defer func() { <-s.prepareSem }()
	case <-ctx.Done():
		return ctx.Err()
	}
	if s.prepared.Load() {
		return nil
	}
	if err := s.createTables(ctx); err != nil {
		return fmt.Errorf("prepare the table %s: %w", s.opts.Table, err)
	}
	if err := s.reencrypt(ctx); err != nil {
		return fmt.Errorf("read what the table %s has: %w", s.opts.Table, err)
	}
	s.prepared.Store(true)
	return nil
}

// createTables makes those that are missing. Where they are there, no right to make any is needed.
func (s *Store) createTables(ctx context.Context) error {
	var there bool
	if err := s.pool.QueryRow(ctx, "SELECT to_regclass($1) IS NOT NULL AND to_regclass($2) IS NOT NULL", s.valuesTable, s.locksTable).Scan(&there); err != nil || there {
		return err
	}
	return pgx.BeginFunc(ctx, s.pool, func(tx pgx.Tx) error {
		for _, statement := range []string{
			fmt.Sprintf("SELECT pg_advisory_xact_lock(%d)", setupLockID),
			"CREATE TABLE IF NOT EXISTS " + s.valuesTable + ` (
				key      text PRIMARY KEY,
				value    bytea NOT NULL,
				size     bigint NOT NULL,
				modified timestamptz NOT NULL DEFAULT clock_timestamp())`,
			"CREATE TABLE IF NOT EXISTS " + s.locksTable + ` (
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
}

// reencrypt encrypts with the first key what was encrypted with others, so that those can be retired: some values, such as the
// account at the authority, are written once and for all. One value that no key opens fails before anything is changed:
// without its keys, an edge would obtain everything anew.
func (s *Store) reencrypt(ctx context.Context) error {
	// A value's beginning says which key it is encrypted with.
	const begin = "substring(value FROM 1 FOR 5)"
	examples, err := s.rows(ctx, "SELECT DISTINCT ON ("+begin+") key, value FROM "+s.valuesTable)
	if err != nil {
		return err
	}
	for _, r := range examples {
		if _, err := s.sealer.open(r.Key, r.Value); err != nil {
			return err
		}
	}
	old, err := s.rows(ctx, "SELECT key, value FROM "+s.valuesTable+" WHERE "+begin+" <> $1", s.sealer.prefix())
	if err != nil {
		return err
	}
	for _, r := range old {
		value, err := s.sealer.open(r.Key, r.Value)
		if err != nil {
			return err
		}
		// Not if somebody has written it in between.
		if _, err := s.pool.Exec(ctx, "UPDATE "+s.valuesTable+" SET value = $3 WHERE key = $1 AND value = $2", r.Key, r.Value, s.sealer.seal(r.Key, value)); err != nil {
			return err
		}
	}
	return nil
}

// row is a stored value.
type row struct {
	Key   string
	Value []byte
}

func (s *Store) rows(ctx context.Context, query string, args ...any) ([]row, error) {
	rows, err := s.pool.Query(ctx, query, args...)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, pgx.RowToStructByPos[row])
}
