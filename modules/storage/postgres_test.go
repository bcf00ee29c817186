package storage_test

import (
	"strings"
	"testing"

	"github.com/caddyserver/caddy/v2/caddyconfig"
	_ "github.com/caddyserver/caddy/v2/modules/standard"

	"github.com/theworklabs/edge/modules/storage"
)

func adapt(t *testing.T, block string) (string, error) {
	t.Helper()
	out, _, err := caddyconfig.GetAdapter("caddyfile").Adapt([]byte("{\n\tstorage postgres "+block+"\n}\n"), map[string]any{"filename": "Caddyfile"})
	return string(out), err
}

func TestCaddyfileIsAdaptedToJSON(t *testing.T) {
	got, err := adapt(t, "{\n\t\tdsn {env.STORAGE_DSN}\n\t\tkey {env.NEW} {env.OLD}\n\t\ttable edge.certs\n\t\tlease 20s\n\t\tpatience 5s\n\t}")
	want := `{"storage":{"dsn":"{env.STORAGE_DSN}","keys":["{env.NEW}","{env.OLD}"],"lease":20000000000,"module":"postgres","patience":5000000000,"table":"edge.certs"}}`
	if err != nil || got != want {
		t.Errorf("%v\n%s, want\n%s", err, got, want)
	}
}

func TestCaddyfileErrors(t *testing.T) {
	for block, want := range map[string]string{
		"here":                                 `takes a block, got "here", at Caddyfile:2`,
		"{\n\t\tdsn x\n\t}":                    "want a key; make one with `openssl rand -hex 32`",
		"{\n\t\tkey k\n\t\tlease 1ms\n\t}":     `lease "1ms": want a duration, at least 1s, at Caddyfile:4`,
		"{\n\t\tkey k\n\t\tpatience ever\n\t}": `patience "ever": want a duration`,
		"{\n\t\tkey k\n\t\tdsn a b\n\t}":       "dsn takes one value",
		"{\n\t\tkey k\n\t\ttable\n\t}":         "table needs a value",
		"{\n\t\tkey k\n\t\thost db\n\t}":       `unknown subdirective "host"; there are dsn, key, table, lease and patience, at Caddyfile:4`,
	} {
		if _, err := adapt(t, block); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %s", block, err, want)
		}
	}
}

const key = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"

func TestInvalidSettingsFailAtLoad(t *testing.T) {
	t.Setenv("STORAGE_KEY", key)
	for want, p := range map[string]storage.Postgres{
		"key: want one":                 {},
		"unrecognized placeholder":      {Keys: []string{"{no.such.thing}"}},
		"is empty":                      {Keys: []string{"{env.EDGE_TEST_UNSET}"}},
		"key 1: want 32 bytes":          {Keys: []string{"short"}},
		"key 2: it is there twice":      {Keys: []string{key, "{env.STORAGE_KEY}"}},
		"want postgres://USER:PASSWORD": {Keys: []string{key}, DSN: "postgres://edge:hunter2@db:port/"},
		"want a name of small letters":  {Keys: []string{key}, Table: "a;drop"},
		"lease 5ns: want at least 1s":   {Keys: []string{key}, Lease: 5},
	} {
		_, err := p.CertMagicStorage()
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%+v: %v, want %s", p, err, want)
			continue
		}
		if strings.Contains(err.Error(), "hunter2") || strings.Contains(err.Error(), key) {
			t.Errorf("the error tells a secret: %v", err)
		}
	}
}

// TestLoadingConnectsToNothing: validation loads, and a reload with the same settings shares what there is.
func TestLoadingConnectsToNothing(t *testing.T) {
	one := storage.Postgres{Keys: []string{key}, DSN: "postgres://edge:secret@127.0.0.1:1/edge"}
	two := one
	first, err := one.CertMagicStorage()
	if err != nil {
		t.Fatal(err)
	}
	second, err := two.CertMagicStorage()
	if err != nil || first != second {
		t.Errorf("the same settings are another store (%v)", err)
	}
	if text := first.(interface{ String() string }).String(); strings.Contains(text, "secret") || !strings.Contains(text, "127.0.0.1:1/edge") {
		t.Errorf("it is called %q", text)
	}
	for _, p := range []*storage.Postgres{&one, &two} {
		if err := p.Cleanup(); err != nil {
			t.Error(err)
		}
	}
}
