package certificates

import (
	"testing"

	"github.com/caddyserver/certmagic"
)

func TestAStoredCertificateIsFound(t *testing.T) {
	storage := &certmagic.FileStorage{Path: t.TempDir()}
	if isStored(t.Context(), storage, "example.com") {
		t.Error("an empty storage has a certificate")
	}
	if err := storage.Store(t.Context(), certmagic.StorageKeys.SiteCert("acme.example-directory", "example.com"), []byte("x")); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]bool{"example.com": true, "www.example.com": false} {
		if got := isStored(t.Context(), storage, name); got != want {
			t.Errorf("%s: %t", name, got)
		}
	}
}

// Whoever still looks for a certificate when Caddy has stopped finds none, where Caddy itself panics.
func TestNoCertificateIsServedWithoutTLS(t *testing.T) {
	if _, isServed := servedCertificate("example.com"); isServed {
		t.Error("without the app tls, a certificate is served")
	}
}
