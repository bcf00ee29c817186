package lab

import (
	"crypto/tls"
	"crypto/x509"
	"os"
	"path/filepath"
	"testing"
)

func TestCertificateIsValidForItsNames(t *testing.T) {
	dir := t.TempDir()
	if err := WriteCertificate(dir, "control.localhost"); err != nil {
		t.Fatal(err)
	}
	both := filepath.Join(dir, "both.pem")
	for _, files := range [][2]string{{filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")}, {both, both}} {
		pair, err := tls.LoadX509KeyPair(files[0], files[1])
		if err != nil {
			t.Fatal(err)
		}
		leaf, err := x509.ParseCertificate(pair.Certificate[0])
		if err != nil {
			t.Fatal(err)
		}
		if err := leaf.VerifyHostname("control.localhost"); err != nil {
			t.Error(err)
		}
	}
	if info, err := os.Stat(both); err != nil || info.Mode().Perm() != 0o644 {
		t.Errorf("%v, %v: want a file that every user can read", info, err)
	}
	if err := WriteCertificate(filepath.Join(dir, "nowhere")); err == nil {
		t.Error("no error for a directory that does not exist")
	}
}
