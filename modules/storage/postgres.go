// Package storage is the module caddy.storage.postgres, with which several edges share one set of certificates.
package storage

import (
	"cmp"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"github.com/caddyserver/certmagic"
	"go.uber.org/zap"

	"github.com/theworklabs/edge/internal/pgstorage"
)

func init() {
	caddy.RegisterModule(new(Postgres))
}

// Postgres stores certificates, their keys and everything else that Caddy stores in a PostgreSQL database, encrypted. Edges with the
// same settings share them: one edge obtains a certificate, and every edge answers the challenge.
//
// Placeholders such as `{env.NAME}` and `{file./run/secrets/key}` are replaced when the configuration is loaded, so secrets do
// not appear in it.
type Postgres struct {
	// The address of the database: `postgres://edge:PASSWORD@db:5432/edge?sslmode=verify-full`, or `host=db user=edge …`.
	// Default: the environment variables PGHOST, PGUSER and so on.
	DSN string `json:"dsn,omitempty"`

	// 32 bytes each, in hexadecimal or base64: `openssl rand -hex 32`. The first key encrypts, all keys decrypt. Put a new key
	// before the old one; the old one can be removed when every value has been encrypted again. Required.
	Keys []string `json:"keys"`

	// The table, `NAME` or `SCHEMA.NAME`, which the edge creates if it is missing. Locks are in `NAME_locks`. Default:
	// `edge_storage`.
	Table string `json:"table,omitempty"`

	// How long a lock is held after its edge has crashed. Default: 30s.
	Lease caddy.Duration `json:"lease,omitempty"`

	// How long an operation retries while the database can't be reached. Default: 10s.
	RetryTimeout caddy.Duration `json:"retry_timeout,omitempty"`

	// The old name of `retry_timeout`, accepted until version 1.0.
	//
	// Deprecated: use retry_timeout.
	OldRetryTimeout caddy.Duration `json:"patience,omitempty"`

	poolKey string
}

// pool holds the stores, so that a reload with the same settings keeps the connections and locks.
var pool = caddy.NewUsagePool()

// pooledStore is a store in the pool.
type pooledStore struct{ *pgstorage.Store }

// Destruct releases the locks and returns. It closes the connections in the background, because operations that use one finish
// first, and a process that exits has no time for that.
func (s pooledStore) Destruct() error {
	s.ReleaseLocks()
	go s.Close()
	return nil
}

// CaddyModule returns the Caddy module information.
func (*Postgres) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "caddy.storage.postgres", New: func() caddy.Module { return new(Postgres) }}
}

const (
	renamedOption = "storage postgres: the option patience is now called retry_timeout; the old name works until version 1.0"
	bothNames     = "storage postgres: patience is the old name of retry_timeout; give retry_timeout only"
)

// Provision replaces the option's old name, and logs a warning for it.
func (p *Postgres) Provision(ctx caddy.Context) error {
	if p.OldRetryTimeout == 0 {
		return nil
	}
	if p.RetryTimeout != 0 {
		return errors.New(bothNames)
	}
	p.RetryTimeout, p.OldRetryTimeout = p.OldRetryTimeout, 0
	ctx.Logger().Warn(renamedOption)
	return nil
}

// CertMagicStorage implements caddy.StorageConverter. It does not connect, because validation calls it too.
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

// options replaces placeholders and sets defaults.
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

// Cleanup releases the store, which is closed when no configuration uses it.
func (p *Postgres) Cleanup() error {
	if p.poolKey == "" {
		return nil
	}
	_, err := pool.Delete(p.poolKey)
	return err
}

// UnmarshalCaddyfile parses the storage's block. Syntax:
//
//	storage postgres {
//		dsn           <address>
//		key           <key> [<older keys...>]
//		table         <name>        # edge_storage
//		lease         <duration>    # 30s
//		retry_timeout <duration>    # 10s
//	}
func (p *Postgres) UnmarshalCaddyfile(d *caddyfile.Dispenser) error {
	d.Next() // postgres
	if d.NextArg() {
		return d.Errf("storage postgres: takes a block, got %q", d.Val())
	}
	var retryOption string // the name by which the retry timeout was given
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
		var err error
		switch name {
		case "dsn":
			p.DSN = args[0]
		case "table":
			p.Table = args[0]
		case "lease":
			p.Lease, err = parseDuration(d, name, args[0])
		case "retry_timeout", "patience": // patience is the old name
			if p.RetryTimeout != 0 && name != retryOption {
				return d.Err(bothNames)
			}
			if name == "patience" {
				caddy.Log().Warn(renamedOption, zap.String("file", d.File()), zap.Int("line", d.Line()))
			}
			retryOption = name
			p.RetryTimeout, err = parseDuration(d, name, args[0])
		default:
			return d.Errf("storage postgres: unknown subdirective %q; there are dsn, key, table, lease and retry_timeout", name)
		}
		if err != nil {
			return err
		}
	}
	if len(p.Keys) == 0 {
		return d.Err("storage postgres: want a key; create one with `openssl rand -hex 32`, and pass it in the environment: key {env.EDGE_STORAGE_KEY}")
	}
	return nil
}

func parseDuration(d *caddyfile.Dispenser, name, value string) (caddy.Duration, error) {
	duration, err := caddy.ParseDuration(value)
	if err != nil || duration < time.Second {
		return 0, d.Errf("storage postgres: %s %q: want a duration, at least 1s", name, value)
	}
	return caddy.Duration(duration), nil
}

// Interface guards
var (
	_ caddy.Provisioner      = (*Postgres)(nil)
	_ caddy.StorageConverter = (*Postgres)(nil)
	_ caddy.CleanerUpper     = (*Postgres)(nil)
	_ caddyfile.Unmarshaler  = (*Postgres)(nil)
)
