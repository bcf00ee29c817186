package edge_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"math/big"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"
)

// httpsConfig returns a configuration that serves a name over TLS. Its storage fails, because it is a file instead of a directory.
func (s *testEdge) httpsConfig(name string, certificates object) []byte {
	s.t.Helper()
	brokenStorage := filepath.Join(s.t.TempDir(), "file")
	if err := os.WriteFile(brokenStorage, nil, 0o600); err != nil {
		s.t.Fatal(err)
	}
	raw, err := json.Marshal(object{
		"admin":   object{"disabled": true, "config": object{"persist": false}},
		"logging": object{"logs": object{"default": object{"writer": object{"output": "discard"}}}},
		"storage": object{"module": "file_system", "root": brokenStorage},
		"apps": object{
			"edge": object{"resolver": closedAddress},
			"tls":  object{"disable_storage_clean": true, "certificates": certificates},
			"http": object{"servers": object{"srv": object{
				"listen": []any{s.listen}, "automatic_https": object{"disable_redirects": true}, "tls_connection_policies": []any{object{}},
				"routes": []any{object{"match": []any{object{"host": []any{name}}}}},
			}}},
		},
	})
	if err != nil {
		s.t.Fatal(err)
	}
	return raw
}

// TestStartFailsWithoutCertificateStorage: it does not fail if the configuration loads the certificates from elsewhere.
func TestStartFailsWithoutCertificateStorage(t *testing.T) {
	s := newTestEdge(t)
	err := caddy.Load(s.httpsConfig("shop.test", nil), true)
	if err == nil || !strings.Contains(err.Error(), "certificates can't be kept") || !strings.Contains(err.Error(), "hint: ") {
		t.Errorf("without certificates: %v", err)
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "shop.test"}, DNSNames: []string{"shop.test"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	pair := object{
		"certificate": string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})),
		"key":         string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: keyDER})),
	}
	if err := caddy.Load(s.httpsConfig("shop.test", object{"load_pem": []any{pair}}), true); err != nil {
		t.Errorf("with a loaded certificate: %v", err)
	}
	rec, err := adminRequest(t, http.MethodGet, "/edge/checks", "")
	if err != nil || !strings.Contains(rec.Body.String(), `"check":"storage","level":"error"`) || !strings.Contains(rec.Body.String(), `"errors":1`) {
		t.Errorf("the admin API: %v %s", err, rec.Body)
	}
	if _, err := adminRequest(t, http.MethodPost, "/edge/checks", ""); err == nil {
		t.Error("the admin API accepts a POST")
	}
}
