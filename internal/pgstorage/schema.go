package pgstorage

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"
)

// setupLockID is the advisory lock that an edge holds while it creates the tables: two edges may start at the same time.
const setupLockID = 0x65646765 // "edge"

// prepare creates missing tables, checks that the stored values can be decrypted, and encrypts them with the first key. After it
// has succeeded once it does nothing.
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
		return fmt.Errorf("read the values in the table %s: %w", s.opts.Table, err)
	}
	s.prepared.Store(true)
	return nil
}

// createTables creates the missing tables. If both exist, the user needs no right to create any.
func (s *Store) createTables(ctx context.Context) error {
	var exist bool
	if err := s.pool.QueryRow(ctx, "SELECT to_regclass($1) IS NOT NULL AND to_regclass($2) IS NOT NULL", s.valuesTable, s.locksTable).Scan(&exist); err != nil || exist {
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

// reencrypt encrypts the values of older keys with the first key, so that those keys can be removed: some values, such as the ACME
// account, are written only once. It fails before it changes anything if no key decrypts some value: an edge without the right
// keys would obtain every certificate again.
func (s *Store) reencrypt(ctx context.Context) error {
	// The first five bytes of a value are the format and the ID of its key.
	const prefix = "substring(value FROM 1 FOR 5)"
	examples, err := s.rows(ctx, "SELECT DISTINCT ON ("+prefix+") key, value FROM "+s.valuesTable)
	if err != nil {
		return err
	}
	for _, r := range examples {
		if _, err := s.sealer.open(r.Key, r.Value); err != nil {
			return err
		}
	}
	old, err := s.rows(ctx, "SELECT key, value FROM "+s.valuesTable+" WHERE "+prefix+" <> $1", s.sealer.prefix())
	if err != nil {
		return err
	}
	for _, r := range old {
		value, err := s.sealer.open(r.Key, r.Value)
		if err != nil {
			return err
		}
		// The condition keeps a value that another edge has written since.
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
