package edge_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"math/big"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig"
	"go.yaml.in/yaml/v3"
)

// validator checks blocks. It provisions configurations as `edge validate` does, and starts none.
type validator struct {
	dir     string // replaces /etc/edge, and has the Caddyfiles to import
	shipped string // the shipped Caddyfile
}

func newValidator(t *testing.T) validator {
	t.Setenv("EDGE_STORAGE_DSN", "postgres://edge@127.0.0.1:1/edge")
	t.Setenv("EDGE_STORAGE_KEY", strings.Repeat("0f", 32))
	v := validator{dir: t.TempDir(), shipped: read(t, "Caddyfile")}
	certificate, key := selfSigned(t)
	for name, content := range map[string][]byte{
		"docs.pem": certificate, "docs.key": key, "clients.pem": certificate, "backend.pem": certificate,
		"sites/shop.caddyfile": []byte("http://shop.example.com {\n\tedge_proxy shop:8080\n}\n"),
	} {
		file := filepath.Join(v.dir, name)
		if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return v
}

func (v validator) check(b block) error {
	switch b.language {
	case "caddyfile":
		context, ok := contexts[b.context]
		if b.context == "shipped" {
			context, ok = strings.ReplaceAll(v.shipped, "%", "%%")+"\n%s", true
		}
		if !ok {
			return fmt.Errorf("unknown context %q", b.context)
		}
		text := strings.ReplaceAll(fmt.Sprintf(context, b.text), "/etc/edge/", v.dir+"/")
		adapted, _, err := caddyconfig.GetAdapter("caddyfile").Adapt([]byte(text), map[string]any{"filename": filepath.Join(v.dir, "Caddyfile")})
		if err != nil {
			return err
		}
		return v.provision(adapted)
	case "json":
		switch b.context {
		case "config":
			return v.provision([]byte(b.text))
		case "handlers":
			handlers := b.text
			if !strings.HasPrefix(handlers, "[") {
				handlers = "[" + handlers + "]"
			}
			return v.provision(fmt.Appendf(nil, `{"apps": {"http": {"servers": {"docs": {"routes": [{"handle": %s}]}}}}}`, handlers))
		}
		return json.Unmarshal([]byte(b.text), new(any))
	case "yaml":
		return yaml.Unmarshal([]byte(b.text), new(yaml.Node))
	}
	if !slices.Contains(languages, b.language) {
		return fmt.Errorf("language %q: want one of %s", b.language, strings.Join(languages, ", "))
	}
	return nil
}

// provision provisions a configuration, with its storage in the temporary directory and without logs.
func (v validator) provision(config []byte) error {
	var cfg caddy.Config
	if err := caddy.StrictUnmarshalJSON(config, &cfg); err != nil {
		return err
	}
	if cfg.StorageRaw == nil {
		cfg.StorageRaw = fmt.Appendf(nil, `{"module": "file_system", "root": %q}`, v.dir)
	}
	if cfg.Logging == nil {
		cfg.Logging = new(caddy.Logging)
	}
	if cfg.Logging.Logs == nil {
		cfg.Logging.Logs = make(map[string]*caddy.CustomLog)
	}
	quiet := new(caddy.CustomLog)
	quiet.WriterRaw = json.RawMessage(`{"output": "discard"}`)
	cfg.Logging.Logs["default"] = quiet
	return caddy.Validate(&cfg)
}

// selfSigned returns a new self-signed certificate and its key, in PEM.
func selfSigned(t *testing.T) (certificate, key []byte) {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), DNSNames: []string{"docs.example.com"}, IsCA: true, BasicConstraintsValid: true}
	der, err := x509.CreateCertificate(rand.Reader, template, template, private.Public(), private)
	if err != nil {
		t.Fatal(err)
	}
	pkcs8, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: pkcs8})
}
