// Package storage is the module caddy.storage.postgres: one set of certificates for several edges.
package storage

import (
	"cmp"
	"fmt"
	"strings"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"github.com/caddyserver/certmagic"

	"github.com/theworklabs/edge/internal/pgstorage"
)

func init() {
	caddy.RegisterModule(new(Postgres))
}

// Postgres keeps certificates, their keys and all else that Caddy keeps in a PostgreSQL database, encrypted. Edges with the
// same settings share them: one of them obtains a certificate, and any of them answers the challenge.
//
// Placeholders such as `{env.NAME}` and `{file./run/secrets/key}` are replaced when the configuration is loaded, and don't
// show in it.
type Postgres struct {
	// Where the database is: `postgres://edge:PASSWORD@db:5432/edge?sslmode=verify-full`, or `host=db user=edge …`.
	// Default: the environment, PGHOST and the like.
	DSN string `json:"dsn,omitempty"`

	// 32 bytes each, in hexadecimal or base64: `openssl rand -hex 32`. The first encrypts, all decrypt: a new key is put
	// before the old one, which may go when everything has been written anew. Required.
	Keys []string `json:"keys"`

	// The table, `NAME` or `SCHEMA.NAME`, which is made if it is missing. Locks are in `NAME_locks`. Default: `edge_storage`.
	Table string `json:"table,omitempty"`

	// How long what an edge was doing is left alone when it has crashed. Default: 30s.
	Lease caddy.Duration `json:"lease,omitempty"`

	// How long an operation goes on trying while the database is away. Default: 10s.
	RetryTimeout caddy.Duration `json:"patience,omitempty"`

	poolKey string
}

// pool holds the stores: a reload with the same settings goes on with the same connections and locks.
var pool = caddy.NewUsagePool()

// pooledStore is a store in the pool.
type pooledStore struct{ *pgstorage.Store }

// Destruct gives back the locks, and ends the connections meanwhile: what still uses one finishes first, and a process that
// ends has no time for that.
func (s pooledStore) Destruct() error {
	s.ReleaseLocks()
	go s.Close()
	return nil
}

// CaddyModule returns the Caddy module information.
func (*Postgres) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "caddy.storage.postgres", New: func() caddy.Module { return new(Postgres) }}
}

// CertMagicStorage implements caddy.StorageConverter. It connects to nothing: validation does this, too.
func (p *Postgres) CertMagicStorage() (certmagic.Storage, error) {
	o, err := p.options()
	if err != nil {
		return nil, fmt.Errorf("storage postgres: %w", err)
	}
	key := fmt.Sprintf("%+v", o)
	value, _, err := pool.LoadOrNew(key, func() (caddy.Destructor, error) {
		store, err := pgstorage.New(o)
		return pooledStore{store}, err
	})
	if err != nil {
		return nil, fmt.Errorf("storage postgres: %w", err)
	}
	p.poolKey = key
	return value.(pooledStore).Store, nil
}

// options replaces placeholders and fills in defaults.
func (p *Postgres) options() (pgstorage.Options, error) {
	replacer := caddy.NewReplacer()
	o := pgstorage.Options{
		Table:        cmp.Or(p.Table, "edge_storage"),
		Lease:        cmp.Or(time.Duration(p.Lease), 30*time.Second),
		RetryTimeout: cmp.Or(time.Duration(p.RetryTimeout), 10*time.Second),
	}
	var err error
	if o.DSN, err = replacer.ReplaceOrErr(p.DSN, true, true); err != nil {
		return o, fmt.Errorf("dsn: %w", err)
	}
	for i, text := range p.Keys {
		key, err := replacer.ReplaceOrErr(text, true, true)
		if err != nil {
			return o, fmt.Errorf("key %d: %w", i+1, err)
		}
		o.Keys = append(o.Keys, strings.TrimSpace(key))
	}
	return o, nil
}

// Cleanup gives the store back.
func (p *Postgres) Cleanup() error {
	if p.poolKey == "" {
		return nil
	}
	_, err := pool.Delete(p.poolKey)
	return err
}

// UnmarshalCaddyfile sets up the storage from Caddyfile tokens. Syntax:
//
//	storage postgres {
//		dsn      <address>
//		key      <key> [<older keys...>]
//		table    <name>        # edge_storage
//		lease    <duration>    # 30s
//		patience <duration>    # 10s
//	}
func (p *Postgres) UnmarshalCaddyfile(d *caddyfile.Dispenser) error {
	d.Next() // postgres
	if d.NextArg() {
		return d.Errf("storage postgres: takes a block, got %q", d.Val())
	}
	for d.NextBlock(0) {
		name := d.Val()
		args := d.RemainingArgs()
		if len(args) == 0 || args[0] == "" {
			return d.Errf("storage postgres: %s needs a value", name)
		}
		if name == "key" {
			p.Keys = append(p.Keys, args...)
			continue
		}
		if len(args) > 1 {
			return d.Errf("storage postgres: %s takes one value", name)
		}
		switch name {
		case "dsn":
			p.DSN = args[0]
		case "table":
			p.Table = args[0]
		case "lease", "patience":
			duration, err := caddy.ParseDuration(args[0])
			if err != nil || duration < time.Second {
				return d.Errf("storage postgres: %s %q: want a duration, at least 1s", name, args[0])
			}
			if name == "lease" {
				p.Lease = caddy.Duration(duration)
			} else {
				p.RetryTimeout = caddy.Duration(duration)
			}
		default:
			return d.Errf("storage postgres: unknown subdirective %q; there are dsn, key, table, lease and patience", name)
		}
	}
	if len(p.Keys) == 0 {
		return d.Err("storage postgres: want a key; make one with `openssl rand -hex 32`, and pass it in the environment: key {env.EDGE_STORAGE_KEY}")
	}
	return nil
}

// Interface guards
var (
	_ caddy.StorageConverter = (*Postgres)(nil)
	_ caddy.CleanerUpper     = (*Postgres)(nil)
	_ caddyfile.Unmarshaler  = (*Postgres)(nil)
)
