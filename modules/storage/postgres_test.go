package storage_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/caddyserver/caddy/v2"
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
	got, err := adapt(t, "{\n\t\tdsn {env.STORAGE_DSN}\n\t\tkey {env.NEW} {env.OLD}\n\t\ttable edge.certs\n\t\tlease 20s\n\t\tretry_timeout 5s\n\t}")
	want := `{"storage":{"dsn":"{env.STORAGE_DSN}","keys":["{env.NEW}","{env.OLD}"],"lease":20000000000,"module":"postgres","retry_timeout":5000000000,"table":"edge.certs"}}`
	if err != nil || got != want {
		t.Errorf("%v\n%s, want\n%s", err, got, want)
	}
}

func TestCaddyfileErrors(t *testing.T) {
	for block, want := range map[string]string{
		"here":                                   `takes a block, got "here", at Caddyfile:2`,
		"{\n\t\tdsn x\n\t}":                      "want a key; create one with `openssl rand -hex 32`",
		"{\n\t\tkey k\n\t\tlease 1ms\n\t}":       `lease "1ms": want a duration, at least 1s, at Caddyfile:4`,
		"{\n\t\tkey k\n\t\tretry_timeout x\n\t}": `retry_timeout "x": want a duration`,
		"{\n\t\tkey k\n\t\tpatience x\n\t}":      `patience "x": want a duration`,
		"{\n\t\tkey k\n\t\tretry_timeout 5s\n\t\tpatience 5s\n\t}": "patience is the old name of retry_timeout; give retry_timeout only, at Caddyfile:5",
		"{\n\t\tkey k\n\t\tpatience 5s\n\t\tretry_timeout 5s\n\t}": "patience is the old name of retry_timeout; give retry_timeout only, at Caddyfile:5",
		"{\n\t\tkey k\n\t\tdsn a b\n\t}":                           "dsn takes one value",
		"{\n\t\tkey k\n\t\ttable\n\t}":                             "table needs a value",
		"{\n\t\tkey k\n\t\thost db\n\t}":                           `unknown subdirective "host"; there are dsn, key, table, lease and retry_timeout, at Caddyfile:4`,
	} {
		if _, err := adapt(t, block); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %s", block, err, want)
		}
	}
}

const renamed = "the option patience is now called retry_timeout"

// TestCaddyfileAcceptsOldNameOfRetryTimeout: the old name works until 1.0, and the log names the new one.
func TestCaddyfileAcceptsOldNameOfRetryTimeout(t *testing.T) {
	log := filepath.Join(t.TempDir(), "log")
	if err := caddy.Run(withLog(t, new(caddy.Config), log)); err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := caddy.Stop(); err != nil {
			t.Error(err)
		}
	}()
	want, err := adapt(t, "{\n\t\tkey "+key+"\n\t\tretry_timeout 5s\n\t}")
	if err != nil {
		t.Fatal(err)
	}
	if text := read(t, log); strings.Contains(text, renamed) {
		t.Errorf("the new name: log %s", text)
	}
	got, err := adapt(t, "{\n\t\tkey "+key+"\n\t\tpatience 5s\n\t}")
	if err != nil || got != want {
		t.Errorf("the old name: %v, %s, want %s", err, got, want)
	}
	if text := read(t, log); !strings.Contains(text, renamed) || !strings.Contains(text, `"file":"Caddyfile","line":4`) {
		t.Errorf("the old name: log %s, want a warning with file and line", text)
	}
}

// TestJSONAcceptsOldNameOfRetryTimeout, like the Caddyfile.
func TestJSONAcceptsOldNameOfRetryTimeout(t *testing.T) {
	for options, want := range map[string]struct {
		isWarned bool
		err      string
	}{
		`"retry_timeout":"5s"`:                 {},
		`"patience":"5s"`:                      {isWarned: true},
		`"patience":"-5s"`:                     {isWarned: true, err: "retry_timeout -5s: want a duration that is not negative"},
		`"patience":"5s","retry_timeout":"5s"`: {err: "give retry_timeout only"},
	} {
		var config caddy.Config
		if err := json.Unmarshal([]byte(`{"storage":{"module":"postgres","dsn":"postgres://edge@127.0.0.1:1/edge","keys":["`+key+`"],`+options+`}}`), &config); err != nil {
			t.Fatal(err)
		}
		log := filepath.Join(t.TempDir(), "log")
		err := caddy.Validate(withLog(t, &config, log))
		if (err == nil) != (want.err == "") || err != nil && !strings.Contains(err.Error(), want.err) {
			t.Errorf("%s: error %v, want %q", options, err, want.err)
		}
		if text := read(t, log); strings.Contains(text, renamed) != want.isWarned {
			t.Errorf("%s: log %s, want a warning: %t", options, text, want.isWarned)
		}
	}
}

// withLog makes a configuration log to a file, without an admin API.
func withLog(t *testing.T, c *caddy.Config, file string) *caddy.Config {
	t.Helper()
	writer, err := json.Marshal(map[string]string{"output": "file", "filename": file})
	if err != nil {
		t.Fatal(err)
	}
	c.Admin = &caddy.AdminConfig{Disabled: true}
	c.Logging = &caddy.Logging{Logs: map[string]*caddy.CustomLog{"default": {BaseLog: caddy.BaseLog{WriterRaw: writer}}}}
	return c
}

func read(t *testing.T, file string) string {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

const key = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"

func TestInvalidSettingsFailAtLoad(t *testing.T) {
	t.Setenv("STORAGE_KEY", key)
	for want, p := range map[string]storage.Postgres{
		"key: want at least one":            {},
		"unrecognized placeholder":          {Keys: []string{"{no.such.thing}"}},
		"is empty":                          {Keys: []string{"{env.EDGE_TEST_UNSET}"}},
		"key 1: want 32 bytes":              {Keys: []string{"short"}},
		"key 2: it is listed twice":         {Keys: []string{key, "{env.STORAGE_KEY}"}},
		"want postgres://USER:PASSWORD":     {Keys: []string{key}, DSN: "postgres://edge:hunter2@db:port/"},
		"want a name of lower-case letters": {Keys: []string{key}, Table: "a;drop"},
		"lease 5ns: want at least 1s":       {Keys: []string{key}, Lease: 5},
	} {
		_, err := p.CertMagicStorage()
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%+v: %v, want %s", p, err, want)
			continue
		}
		if strings.Contains(err.Error(), "hunter2") || strings.Contains(err.Error(), key) {
			t.Errorf("the error contains a secret: %v", err)
		}
	}
}

// TestLoadingDoesNotConnect: validation loads the module too, and a reload with the same settings shares the store.
func TestLoadingDoesNotConnect(t *testing.T) {
	one := storage.Postgres{Keys: []string{key}, DSN: "postgres://edge:secret@127.0.0.1:1/edge"}
	two := one
	first, err := one.CertMagicStorage()
	if err != nil {
		t.Fatal(err)
	}
	second, err := two.CertMagicStorage()
	if err != nil || first != second {
		t.Errorf("two modules with the same settings have two stores, error %v", err)
	}
	if text := first.(interface{ String() string }).String(); strings.Contains(text, "secret") || !strings.Contains(text, "127.0.0.1:1/edge") {
		t.Errorf("String() is %q, want the address without the password", text)
	}
	for _, p := range []*storage.Postgres{&one, &two} {
		if err := p.Cleanup(); err != nil {
			t.Error(err)
		}
	}
}
