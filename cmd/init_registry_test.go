package cmd

import (
	"bytes"
	"os"
	"regexp"
	"strings"
	"testing"

	"golang.org/x/crypto/bcrypt"

	"github.com/theworklabs/edge/internal/authority"
)

func TestInitWritesThePasswordsOfARegistry(t *testing.T) {
	t.Chdir(t.TempDir())
	if _, stderr, err := runInitCommand(t, "--registry"); err == nil || !strings.Contains(stderr, "edge: hint: edge init") {
		t.Errorf("without .env: %v, %s", err, stderr)
	}
	if err := os.WriteFile(".env", []byte("DOMAIN=example.com"), 0o600); err != nil { // without an end of line
		t.Fatal(err)
	}
	stdout, stderr, err := runInitCommand(t, "--registry")
	if err != nil || !strings.Contains(stdout, "docker login --username push registry.example.com") {
		t.Fatalf("%v: %s%s", err, stdout, stderr)
	}
	text, err := os.ReadFile(".env")
	if err != nil {
		t.Fatal(err)
	}
	if !strings.HasPrefix(string(text), "DOMAIN=example.com\n") || !strings.Contains(string(text), "\nREGISTRY_HTTP_SECRET=") {
		t.Errorf(".env is\n%s", text)
	}
	for account, variable := range map[string]string{"push": "REGISTRY_PUSH_HASH", "pull": "REGISTRY_PULL_HASH"} {
		password := regexp.MustCompile(`(?m)^  ` + account + ` (\w+) `).FindStringSubmatch(stdout)
		hash := regexp.MustCompile(variable + `='(.*)'`).FindSubmatch(text)
		if password == nil || hash == nil {
			t.Fatalf("%s: %s\n%s", account, stdout, text)
		}
		if err := bcrypt.CompareHashAndPassword(hash[1], []byte(password[1])); err != nil {
			t.Errorf("%s: %v", account, err)
		}
		if strings.Contains(string(text), password[1]) {
			t.Errorf(".env has the password of %s", account)
		}
	}
	if info, err := os.Stat(".env"); err != nil || info.Mode() != 0o600 {
		t.Errorf("%v %v", info, err)
	}
	if _, stderr, err := runInitCommand(t, "--registry"); err == nil || !strings.Contains(stderr, "has REGISTRY_HTTP_SECRET already") {
		t.Errorf("a second time: %v, %s", err, stderr)
	}
	if again, err := os.ReadFile(".env"); err != nil || string(again) != string(text) {
		t.Error("a failed command has changed .env")
	}
}

func TestInitWritesTheCertificateOfACDN(t *testing.T) {
	t.Chdir(t.TempDir())
	stdout, stderr, err := runInitCommand(t, "--cdn")
	if err != nil || !strings.Contains(stdout, "cdn/client.pem") {
		t.Fatalf("%v: %s%s", err, stdout, stderr)
	}
	for name, mode := range map[string]os.FileMode{"cdn": 0o700 | os.ModeDir, "cdn/authority.pem": 0o644, "cdn/authority.key": 0o600, "cdn/client.pem": 0o600} {
		if info, err := os.Stat(name); err != nil || info.Mode() != mode {
			t.Errorf("%s: %v %v, want %v", name, info, err, mode)
		}
	}
	before, err := os.ReadFile("cdn/client.pem")
	if err != nil {
		t.Fatal(err)
	}
	if stdout, stderr, err := runInitCommand(t, "--cdn"); err != nil || !strings.Contains(stdout, "of the same authority") {
		t.Errorf("a new certificate: %v\n%s%s", err, stdout, stderr)
	}
	renewed, err := os.ReadFile("cdn/client.pem")
	if err != nil || bytes.Equal(renewed, before) {
		t.Errorf("the certificate is the same: %v", err)
	}
	signer, err := os.ReadFile("cdn/authority.pem")
	if err != nil {
		t.Fatal(err)
	}
	root, err := authority.ParseCertificate(signer)
	if err != nil {
		t.Fatal(err)
	}
	if certificate, err := authority.ParseCertificate(renewed); err != nil || certificate.CheckSignatureFrom(root) != nil {
		t.Errorf("the new certificate is not of the authority: %v", err)
	}
	if err := os.Remove("cdn/authority.key"); err != nil {
		t.Fatal(err)
	}
	if _, stderr, err := runInitCommand(t, "--cdn"); err == nil || !strings.Contains(stderr, "cdn exists already, without the key") {
		t.Errorf("a second time: %v, %s", err, stderr)
	}
}
