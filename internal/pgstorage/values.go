package pgstorage

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/caddyserver/certmagic"
	"github.com/jackc/pgx/v5"
)

// Store writes a value at a key.
func (s *Store) Store(ctx context.Context, key string, value []byte) error {
	key = trimKey(key)
	return s.withRetry(ctx, "store "+key, func(ctx context.Context) error {
		_, err := s.pool.Exec(ctx, "INSERT INTO "+s.valuesTable+` (key, value, size) VALUES ($1, $2, $3)
			ON CONFLICT (key) DO UPDATE SET value = excluded.value, size = excluded.size, modified = clock_timestamp()`,
			key, s.sealer.seal(key, value), len(value))
		return err
	})
}

// Load returns the value at a key. It returns fs.ErrNotExist if there is none.
func (s *Store) Load(ctx context.Context, key string) (value []byte, err error) {
	key = trimKey(key)
	err = s.withRetry(ctx, "load "+key, func(ctx context.Context) error {
		var sealed []byte
		if err := s.pool.QueryRow(ctx, "SELECT value FROM "+s.valuesTable+" WHERE key = $1", key).Scan(&sealed); err != nil {
			return asNotExist(err)
		}
		value, err = s.sealer.open(key, sealed)
		return err
	})
	return value, err
}

// Delete deletes a key and all keys below it. A key that does not exist is not an error.
func (s *Store) Delete(ctx context.Context, key string) error {
	key = trimKey(key)
	return s.withRetry(ctx, "delete "+key, func(ctx context.Context) error {
		_, err := s.pool.Exec(ctx, "DELETE FROM "+s.valuesTable+" WHERE key = $1 OR starts_with(key, $2)", key, dirPrefix(key))
		return err
	})
}

// Exists reports whether the key, or a key below it, exists.
func (s *Store) Exists(ctx context.Context, key string) bool {
	_, err := s.Stat(ctx, key)
	return err == nil
}

// List returns the keys and directories below a path, sorted: those directly below it, or all with recursive. It returns
// fs.ErrNotExist if the path does not exist.
func (s *Store) List(ctx context.Context, dir string, recursive bool) (keys []string, err error) {
	dir = trimKey(dir)
	err = s.withRetry(ctx, "list "+dir, func(ctx context.Context) error {
		rows, err := s.pool.Query(ctx, "SELECT key FROM "+s.valuesTable+" WHERE starts_with(key, $1) ORDER BY key", dirPrefix(dir))
		if err != nil {
			return err
		}
		all, err := pgx.CollectRows(rows, pgx.RowTo[string])
		if err != nil {
			return err
		}
		keys = listDir(dir, all, recursive)
		return nil
	})
	if err != nil {
		return nil, err
	}
	if len(keys) == 0 && dir != "" {
		if info, err := s.Stat(ctx, dir); err != nil || !info.IsTerminal {
			return nil, fmt.Errorf("list %s: %w", dir, fs.ErrNotExist)
		}
	}
	return keys, nil
}

// listDir returns the entries of a directory, given all keys below it.
func listDir(dir string, keys []string, recursive bool) []string {
	found := make(map[string]bool)
	for _, key := range keys {
		rest := strings.TrimPrefix(key, dirPrefix(dir))
		for i := range rest {
			if rest[i] == '/' {
				found[path.Join(dir, rest[:i])] = true
				if !recursive {
					break
				}
			}
		}
		if recursive || !strings.Contains(rest, "/") {
			found[key] = true
		}
	}
	return slices.Sorted(maps.Keys(found))
}

// Stat describes a key or a directory. It returns fs.ErrNotExist if there is neither.
func (s *Store) Stat(ctx context.Context, key string) (info certmagic.KeyInfo, err error) {
	key = trimKey(key)
	err = s.withRetry(ctx, "stat "+key, func(ctx context.Context) error {
		var size int64
		var modified time.Time
		err := s.pool.QueryRow(ctx, "SELECT size, modified FROM "+s.valuesTable+" WHERE key = $1", key).Scan(&size, &modified)
		if err == nil {
			info = certmagic.KeyInfo{Key: key, Modified: modified, Size: size, IsTerminal: true}
			return nil
		}
		if !errors.Is(err, pgx.ErrNoRows) {
			return err
		}
		err = s.pool.QueryRow(ctx, "SELECT max(modified) FROM "+s.valuesTable+" WHERE starts_with(key, $1) HAVING count(*) > 0", dirPrefix(key)).Scan(&modified)
		info = certmagic.KeyInfo{Key: key, Modified: modified}
		return asNotExist(err)
	})
	if err != nil {
		return certmagic.KeyInfo{}, err
	}
	return info, nil
}

// asNotExist turns pgx.ErrNoRows into fs.ErrNotExist, which certmagic expects.
func asNotExist(err error) error {
	if errors.Is(err, pgx.ErrNoRows) {
		return fmt.Errorf("%w (%w)", fs.ErrNotExist, err)
	}
	return err
}

// trimKey removes leading and trailing slashes, which have no meaning.
func trimKey(key string) string { return strings.Trim(key, "/") }

// dirPrefix returns the prefix of the keys below a directory.
func dirPrefix(dir string) string {
	if dir == "" {
		return ""
	}
	return dir + "/"
}
