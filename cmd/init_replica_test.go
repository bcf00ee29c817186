package cmd

import (
	"os"
	"strings"
	"testing"

	"github.com/theworklabs/edge/internal/authority"
)

func TestInitWritesTheFilesOfAReplica(t *testing.T) {
	t.Chdir(t.TempDir())
	if _, stderr, err := runInitCommand(t, "--domain", "example.com"); err != nil {
		t.Fatalf("%v: %s", err, stderr)
	}
	refused := func(want string) {
		t.Helper()
		if _, stderr, err := runInitCommand(t, "--replica", "10.0.0.3"); err == nil || !strings.Contains(stderr, want) {
			t.Errorf("%v, %s, want %q", err, stderr, want)
		}
	}
	refused("does not have DATABASES_HOST")
	env, err := os.ReadFile(".env")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(".env", append(env, "DATABASES_HOST=10.0.0.2\n"...), 0o600); err != nil {
		t.Fatal(err)
	}
	refused("edge init --databases HOST comes first")
	if _, stderr, err := runInitCommand(t, "--databases", "10.0.0.2"); err != nil {
		t.Fatalf("%v: %s", err, stderr)
	}
	if err := os.Rename("databases/authority.key", "key"); err != nil {
		t.Fatal(err)
	}
	refused("put the key of the authority back")
	if err := os.Rename("key", "databases/authority.key"); err != nil {
		t.Fatal(err)
	}
	stdout, stderr, err := runInitCommand(t, "--replica", "10.0.0.3")
	if err != nil || !strings.Contains(stdout, "set DATABASES_REPLICA=10.0.0.3 in .env") {
		t.Fatalf("%v: %s%s", err, stdout, stderr)
	}
	for name, wants := range map[string][]string{
		"databases/replica-10.0.0.3/replica/.env":        {"DATABASES_LISTEN=10.0.0.3\n", "DATABASES_PEER=10.0.0.2\n", "DATABASES_SERVER_ID=", "CORTEZA_DB_PASSWORD=", "COMPOSE_FILE=compose.yaml:compose.replica.yaml\n"},
		"databases/replica-10.0.0.3/primary/replica.env": {"DATABASES_PEER=10.0.0.3\n", "DATABASES_SERVER_ID=", "COMPOSE_FILE=compose.yaml:compose.replica.yaml\n"},
	} {
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		for _, want := range wants {
			if !strings.Contains(string(text), want) {
				t.Errorf("%s lacks %q:\n%s", name, want, text)
			}
		}
	}
	text, err := os.ReadFile("databases/replica-10.0.0.3/replica/databases/server.pem")
	if err != nil {
		t.Fatal(err)
	}
	server, err := authority.ParseCertificate(text)
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"10.0.0.3", "bigcapital-mysql", "corteza-db"} {
		if err := server.VerifyHostname(name); err != nil {
			t.Error(err)
		}
	}
	for name, machine := range map[string]string{
		"databases": "", "databases/replica-10.0.0.3/replica/databases": "10.0.0.3", "databases/replica-10.0.0.3/primary/databases": "10.0.0.2",
	} {
		text, err := os.ReadFile(name + "/replication.pem")
		if err != nil {
			t.Fatal(err)
		}
		client, err := authority.ParseCertificate(text)
		if err != nil {
			t.Fatal(err)
		}
		if got := strings.Join(client.Subject.Organization, " "); got != machine || client.Subject.CommonName != "replication" {
			t.Errorf("%s: the certificate is of %s, machine %q, want %q", name, client.Subject.CommonName, got, machine)
		}
	}
	refused("databases/replica-10.0.0.3 exists already")
}
