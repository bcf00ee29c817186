package preflight

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestWeakSecretsAreReported(t *testing.T) {
	const strong = "0123456789abcdef"
	for _, c := range []struct {
		name, image string
		environment jsonObject
		level       Level
		want, hint  string
	}{
		{"PostgreSQL with an empty password", "postgres:16", jsonObject{"POSTGRES_PASSWORD": ""}, Error, "app: POSTGRES_PASSWORD is empty", "openssl rand"},
		{"PostgreSQL without a password", "docker.io/library/postgres:16", jsonObject{}, Warning, "app: POSTGRES_PASSWORD is not set", "openssl rand"},
		{"another image with an empty database password", "example/app:1.2", jsonObject{"POSTGRES_PASSWORD": ""}, Error, "app: POSTGRES_PASSWORD is empty", "openssl rand"},
		{"MariaDB with an empty root password", "mariadb:11", jsonObject{"MARIADB_ROOT_PASSWORD": ""}, Error, "app: MARIADB_ROOT_PASSWORD is empty", "openssl rand"},
		{"MariaDB with an empty password by the name of MySQL", "mariadb:11", jsonObject{"MYSQL_ROOT_PASSWORD": ""}, Error, "app: MYSQL_ROOT_PASSWORD is empty", "openssl rand"},
		{"MySQL with an empty root password", "mysql:8.4", jsonObject{"MYSQL_ROOT_PASSWORD": ""}, Error, "app: MYSQL_ROOT_PASSWORD is empty", "openssl rand"},
		{"an empty password in an address", "example/app:1.2", jsonObject{"DATABASE_URL": "postgres://app:@db/app"}, Error, "app: DATABASE_URL is empty", "openssl rand"},
		{"an empty key that signs sessions", "example/app:1.2", jsonObject{"SESSION_SECRET": ""}, Error, "app: SESSION_SECRET is empty", "openssl rand"},
		{"BigCapital's published secret", "bigcapitalhq/server:v0.22.0", jsonObject{"JWT_SECRET": "b0JDZW56RnV6aEthb0RGPXVEcUI"}, Error, `app: JWT_SECRET is "b0JDZW56RnV6aEthb0RGPXVEcUI", which is publicly known`, "openssl rand"},
		{"a value that asks to be replaced", "example/app:1.2", jsonObject{"JWT_SECRET": "REPLACE_WITH_RANDOM_64_CHARACTER_SECRET"}, Error, "which is publicly known", "openssl rand"},
		{"a value from documentation", "example/app:1.2", jsonObject{"JWT_SECRET": "your-super-secret-jwt-token-with-at-least-32-characters-long"}, Error, "which is publicly known", "openssl rand"},
		{"a placeholder in brackets", "example/app:1.2", jsonObject{"API_TOKEN": "<your-api-token>"}, Error, "which is publicly known", "openssl rand"},
		{"a value of vocabulary", "example/app:1.2", jsonObject{"DB_PASSWORD": "mysecretpassword"}, Error, "which is publicly known", "openssl rand"},
		{"one character many times", "example/app:1.2", jsonObject{"DB_PASSWORD": "aaaaaaaaaaaaaaaa"}, Error, "which is publicly known", "openssl rand"},
		{"a published value in quotes", "example/app:1.2", jsonObject{"DB_PASSWORD": `"changeme"`}, Error, "which is publicly known", "openssl rand"},
		{"the name of the user", "example/app:1.2", jsonObject{"DB_USER": "bookkeeping-service", "DB_PASSWORD": "bookkeeping-service"}, Error, "app: DB_PASSWORD is the same as DB_USER", "openssl rand"},
		{"a database that allows empty passwords", "mongo:7", jsonObject{"ALLOW_EMPTY_PASSWORD": "yes"}, Warning, "app: ALLOW_EMPTY_PASSWORD allows empty passwords", "take it out"},
		{"MySQL that allows empty passwords", "mysql:8.4", jsonObject{"MYSQL_ALLOW_EMPTY_PASSWORD": "1", "MYSQL_ROOT_PASSWORD": ""}, Warning, "app: MYSQL_ALLOW_EMPTY_PASSWORD allows empty passwords", "take it out"},
		{"PostgreSQL that trusts all clients", "postgres:16", jsonObject{"POSTGRES_HOST_AUTH_METHOD": "trust"}, Warning, "app: POSTGRES_HOST_AUTH_METHOD allows empty passwords", "take it out"},
		{"a secret of an unused feature", "example/app:1.2", jsonObject{"SMTP_PASSWORD": "", "DB_PASSWORD": strong}, Note, "app: SMTP_PASSWORD", "if the service uses it"},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := newFakeHost(t)
			w.service("app")["image"], w.service("app")["environment"] = c.image, c.environment
			expectFinding(t, w.newCheck(t).Run(t.Context()), "secret", c.level, c.want, c.hint)
		})
	}
}

// TestHarmlessVariablesAreNotReported has variables that look like secrets, strong secrets, and services that need none.
func TestHarmlessVariablesAreNotReported(t *testing.T) {
	const strong = "0123456789abcdef"
	for name, change := range map[string]func(app jsonObject){
		"a setting that forbids empty passwords": func(app jsonObject) {
			app["environment"] = jsonObject{"ALLOW_EMPTY_PASSWORD": "no", "DB_PASSWORD": strong}
		},
		"settings that end like a secret": func(app jsonObject) {
			app["environment"] = jsonObject{"RESET_PASSWORD": "true", "MAX_TOKEN": "4096", "DISABLE_API_TOKEN": "1"}
		},
		"a random root password": func(app jsonObject) {
			app["image"], app["environment"] = "mysql:8.4", jsonObject{"MYSQL_RANDOM_ROOT_PASSWORD": "yes"}
		},
		"MariaDB by the names of MySQL": func(app jsonObject) {
			app["image"], app["environment"] = "mariadb:11", jsonObject{"MYSQL_ROOT_PASSWORD": strong}
		},
		"a password in a file of the container": func(app jsonObject) {
			app["image"], app["environment"] = "postgres:16", jsonObject{"POSTGRES_PASSWORD_FILE": "/run/secrets/db"}
		},
		"a program of a database's image that is no server": func(app jsonObject) {
			app["image"], app["environment"], app["command"] = "postgres:16", jsonObject{}, []string{"pg_dump", "--host", "db"}
		},
		"keys of unused features": func(app jsonObject) {
			app["environment"] = jsonObject{"STRIPE_SECRET_KEY": "", "FACEBOOK_APP_SECRET": "", "S3_SECRET_ACCESS_KEY": "", "MAIL_PASSWORD": ""}
		},
		"random values": func(app jsonObject) {
			app["environment"] = jsonObject{
				"A_SECRET": "9f86d081884c7d659a2feaa0c55ad015", "B_SECRET": "Yk3pQz+your/x8Lw0sEcRtkey", "C_PASSWORD": "correct horse battery staple",
				"APP_KEY": "base64:q83vEjRWeJCrze8SNFZ4kKvN7xI0VniQq83vEjRWeJA=",
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			w := newFakeHost(t)
			change(w.service("app"))
			expectNoProblems(t, w.newCheck(t).Run(t.Context()))
		})
	}
}

func TestPasswordIsReadFromItsFile(t *testing.T) {
	file := filepath.Join(t.TempDir(), "db")
	for text, want := range map[string]string{"changeme\n": "which is publicly known", "\n": "POSTGRES_PASSWORD_FILE is empty"} {
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		w := newFakeHost(t)
		w.service("app")["environment"] = jsonObject{"POSTGRES_PASSWORD_FILE": "/run/secrets/db"}
		w.service("app")["volumes"] = []jsonObject{{"type": "bind", "source": file, "target": "/run/secrets/db"}}
		expectFinding(t, w.newCheck(t).Run(t.Context()), "secret", Error, want, "openssl rand")
	}
}

// TestUnsetVariableIsReportedOnce has Compose's warning, as it is printed to a pipe and to a terminal.
func TestUnsetVariableIsReportedOnce(t *testing.T) {
	for _, warnings := range []string{
		`time="2026-11-26T01:00:16Z" level=warning msg="The \"DB_HOST\" variable is not set. Defaulting to a blank string."`,
		`WARN[0000] The "DB_HOST" variable is not set. Defaulting to a blank string.`,
	} {
		w := newFakeHost(t)
		w.composeWarnings = warnings + "\n" + warnings + "\n"
		all := w.newCheck(t).Run(t.Context())
		expectFinding(t, all, "compose file", Warning, "the variable DB_HOST is not set", "${DB_HOST:-}")
		n := 0
		for _, f := range all {
			if strings.Contains(f.Message, "DB_HOST") {
				n++
			}
		}
		if n != 1 {
			t.Errorf("%d findings name the variable, want 1", n)
		}
	}
}

// TestDoubledDollarSignsAreUnescaped: `docker compose config` prints each $ as $$.
func TestDoubledDollarSignsAreUnescaped(t *testing.T) {
	w := newFakeHost(t)
	w.service("edge")["environment"] = jsonObject{"HASH": "$$2a$$14$$abc"}
	c := w.newCheck(t)
	s, broken := c.readStack(t.Context())
	if broken != nil {
		t.Fatal(broken)
	}
	if got := strings.Join(environ(s.edge), " "); got != "HASH=$2a$14$abc" {
		t.Errorf("got %s", got)
	}
}

func TestEnvFileReadableByOthersIsReported(t *testing.T) {
	file := filepath.Join(t.TempDir(), ".env")
	w := newFakeHost(t)
	c := w.newCheck(t)
	c.Project.EnvFiles = []string{file}
	for text, want := range map[string]int{
		"PUBLISH_HTTP=8080\n# DB_PASSWORD=x\nDB_PASSWORD=\n": 0,
		"DB_PASSWORD='x'\n":               1,
		"URL=postgres://user:x@db/shop\n": 1,
	} {
		if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		if got := c.checkEnvFiles(); len(got) != want {
			t.Errorf("%q: got %+v, want %d findings", text, got, want)
		}
	}
	if err := os.WriteFile(file, []byte("APP_SECRET=x\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	if got := c.checkEnvFiles(); len(got) != 1 || got[0].Level != Warning || got[0].Hint != "chmod 600 "+file {
		t.Errorf("%+v", got)
	}
	if err := os.Chmod(file, 0o600); err != nil {
		t.Fatal(err)
	}
	if got := c.checkEnvFiles(); len(got) != 0 {
		t.Errorf("%+v", got)
	}
}

func TestNoFindingShowsASecret(t *testing.T) {
	w := newFakeHost(t)
	w.service("app")["environment"] = jsonObject{"DB_PASSWORD": "tooshort"}
	for _, f := range w.newCheck(t).Run(t.Context()) {
		if strings.Contains(f.Message+f.Hint, "tooshort") {
			t.Errorf("%+v", f)
		}
	}
}
