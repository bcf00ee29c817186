package cmd

import (
	"bytes"
	"crypto/x509"
	"os"
	"strings"
	"testing"

	"github.com/spf13/cobra"

	"github.com/theworklabs/edge/internal/authority"
)

// runInitCommand runs `edge init` in the working directory.
func runInitCommand(t *testing.T, args ...string) (stdout, stderr string, err error) {
	t.Helper()
	c := &cobra.Command{Use: "init"}
	initCommand([]byte("DOMAIN=\nBIGCAPITAL_DB_PASSWORD=\nBIGCAPITAL_JWT_SECRET=\n# CORTEZA_DB_NAME=corteza\nCORTEZA_DB_PASSWORD=\n")).CobraFunc(c)
	var out, errs bytes.Buffer
	c.SetOut(&out)
	c.SetErr(&errs)
	c.SetArgs(args)
	err = c.ExecuteContext(t.Context())
	return out.String(), errs.String(), err
}

func TestInitWritesTheFilesOfBothMachines(t *testing.T) {
	t.Chdir(t.TempDir())
	if _, stderr, err := runInitCommand(t, "--databases", "10.0.0.2"); err == nil || !strings.Contains(stderr, "edge: hint: edge init") {
		t.Errorf("without .env: %v, %s", err, stderr)
	}
	if _, err := os.Stat("databases"); err == nil {
		t.Error("a failed command has left a directory")
	}
	if _, stderr, err := runInitCommand(t, "--domain", "example.com"); err != nil {
		t.Fatalf("%v: %s", err, stderr)
	}
	stdout, stderr, err := runInitCommand(t, "--databases", "10.0.0.2")
	if err != nil || !strings.Contains(stdout, "set DATABASES_HOST=10.0.0.2 in .env") {
		t.Fatalf("%v: %s%s", err, stdout, stderr)
	}
	for name, mode := range map[string]os.FileMode{
		"databases": 0o700 | os.ModeDir, "databases/host": 0o700 | os.ModeDir, "databases/authority.key": 0o600, "databases/host/.env": 0o600,
		"databases/authority.pem": 0o644, "databases/bigcapital.pem": 0o644, "databases/corteza.pem": 0o644, "databases/host/databases/server.pem": 0o644,
	} {
		if info, err := os.Stat(name); err != nil || info.Mode() != mode {
			t.Errorf("%s: %v %v, want %v", name, info, err, mode)
		}
	}
	text, err := os.ReadFile("databases/host/databases/server.pem")
	if err != nil {
		t.Fatal(err)
	}
	server, err := authority.ParseCertificate(text)
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"10.0.0.2", "bigcapital-mysql", "bigcapital-redis", "corteza-db"} {
		if err := server.VerifyHostname(name); err != nil {
			t.Error(err)
		}
	}
	if server.ExtKeyUsage[0] != x509.ExtKeyUsageServerAuth {
		t.Error("the server's certificate is not one of a server")
	}
	variables, err := os.ReadFile("databases/host/.env")
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"\nDATABASES_LISTEN=10.0.0.2\n", "\nBIGCAPITAL_DB_PASSWORD=", "\nCORTEZA_DB_PASSWORD="} {
		if !strings.Contains(string(variables), want) {
			t.Errorf("%q is missing in\n%s", want, variables)
		}
	}
	if strings.Contains(string(variables), "JWT") || strings.Contains(string(variables), "DOMAIN") {
		t.Errorf("the other machine gets variables that it does not need:\n%s", variables)
	}
	if _, stderr, err := runInitCommand(t, "--databases", "10.0.0.3"); err == nil || !strings.Contains(stderr, "databases exists already") {
		t.Errorf("again: %v, %s", err, stderr)
	}
	left, err := os.ReadDir(".")
	if err != nil || len(left) != 2 {
		t.Errorf("the directory has %v, %v", left, err)
	}
}

func TestAMachineWithANameListensWhereItsOwnerSays(t *testing.T) {
	if got := string(databaseVariables(nil, "databases.example.com")); !strings.HasSuffix(got, "\nDATABASES_LISTEN=\n") {
		t.Errorf("got %s", got)
	}
}
