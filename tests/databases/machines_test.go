// Package databases moves the databases of the shipped stack to another machine and back, and tries what the connections between the two let through.
//
// Both machines are projects on this one's Docker Engine, which reach each other by the address of its bridge only.
package databases

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/theworklabs/edge/internal/testport"
	"github.com/theworklabs/edge/tests/harness"
)

func TestMain(m *testing.M) {
	harness.Main(m, harness.Suite{
		Dir: "tests/databases",
		Requires: []harness.Requirement{
			harness.Docker, harness.Compose,
			{"restic", "version"},
			harness.Images("edge:dev", "edge-gate:dev", "edge-test/mariadb:test", "edge-test/postgres:test", "edge-test/redis:test", "edge-test/haproxy:test", "edge-test/corteza:test", "edge-test/observability:test"),
		},
		Teardown: func(bool) error {
			ctx := context.Background()
			return errors.Join((&harness.Project{Name: firstName}).Down(ctx), (&harness.Project{Name: secondName}).Down(ctx), (&harness.Project{Name: thirdName}).Down(ctx))
		},
	})
}

const (
	firstName  = "edge-test-apart"
	secondName = "edge-test-apart-databases"
	thirdName  = "edge-test-apart-replica"
	lanName    = "edge-test-apart-lan" // a network whose bridge has the address of the third machine
)

// machine is a project in a directory of its own.
type machine struct {
	*harness.Project
	dir  string
	disk string // the small one of the databases, if they are on one
}

// edge runs a command of the edge on the machine's project.
func (m *machine) edge(t *testing.T, args ...string) string {
	t.Helper()
	return m.run(t, append(args, m.FileArgs()...)...)
}

// tryEdge is edge, and its command may fail.
func (m *machine) tryEdge(t *testing.T, args ...string) string {
	t.Helper()
	out, _ := m.command(t, append(args, m.FileArgs()...)...).CombinedOutput()
	return string(out)
}

// run runs a command of the edge in the machine's directory.
func (m *machine) run(t *testing.T, args ...string) string {
	t.Helper()
	out, err := m.command(t, args...).CombinedOutput()
	if err != nil {
		t.Fatalf("edge %s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return string(out)
}

func (m *machine) command(t *testing.T, args ...string) *exec.Cmd {
	t.Helper()
	path, err := harness.EdgeBinary()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), path, args...)
	cmd.Dir, cmd.Env = m.dir, m.Environ()
	return cmd
}

// pair is the machine with the applications, and the one for the databases.
type pair struct {
	first, second *machine
	address       string // of the second, as the first reaches it
	port          string
}

// newPair makes both directories as docs/databases-apart.md does. Nothing runs yet.
func newPair(t *testing.T) *pair {
	t.Helper()
	address, err := harness.BridgeGateway(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	port, err := testport.Reserve()
	if err != nil {
		t.Fatal(err)
	}
	p := &pair{address: address, port: port}
	p.first = newMachine(t, firstName, "compose.yaml", "compose.remote.yaml", "tests/compose.test.yaml", "Caddyfile")
	p.second = newMachine(t, secondName, "compose.databases.yaml")
	env := harness.InitEnv(t, p.first.dir, "localhost")
	for _, name := range []string{"PUBLISH_HTTP", "PUBLISH_HTTPS"} {
		published, err := testport.Reserve()
		if err != nil {
			t.Fatal(err)
		}
		p.first.Setenv(name, "127.0.0.1:"+published)
		p.first.HTTPS = published // the last one
	}
	appendLine(t, env, "DATABASES_HOST="+p.address)
	for _, m := range []*machine{p.first, p.second} {
		m.Setenv("HAPROXY_IMAGE", "edge-test/haproxy:test")
		m.Setenv("DATABASES_PORT", port)
	}
	p.first.run(t, "init", "--file", env, "--databases", p.address)
	copyTree(t, filepath.Join(p.first.dir, "databases", "host"), p.second.dir)
	p.second.useTestImages(t)
	p.setRemote(false)
	p.first.downAtEnd(t)
	p.second.downAtEnd(t)
	return p
}

// useTestImages has a machine with databases run this repository's images. Docker 20 has no start_interval: it first checks a container's health after a whole interval.
func (m *machine) useTestImages(t *testing.T) {
	t.Helper()
	images := filepath.Join(m.dir, "images.yaml")
	if err := os.WriteFile(images, []byte(`services:
  bigcapital-mysql: {image: "edge-test/mariadb:test"}
  bigcapital-redis: {image: "edge-test/redis:test"}
  corteza-db: {image: "edge-test/postgres:test"}
  databases: {healthcheck: {interval: 2s}}
  edge: {healthcheck: {interval: 2s}}
`), 0o600); err != nil {
		t.Fatal(err)
	}
	m.Files = []string{filepath.Join(m.dir, "compose.databases.yaml"), images}
}

// downAtEnd removes what the machine runs, and now what an earlier run has left.
func (m *machine) downAtEnd(t *testing.T) {
	t.Helper()
	if err := m.Down(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := m.Down(context.WithoutCancel(t.Context())); err != nil {
			t.Error(err)
		}
	})
}

func appendLine(t *testing.T, file, line string) {
	t.Helper()
	text := readFile(t, file)
	if err := os.WriteFile(file, append(text, line+"\n"...), 0o600); err != nil {
		t.Fatal(err)
	}
}

// setRemote says whether the first machine's databases are remote: it selects the compose files.
func (p *pair) setRemote(isRemote bool) {
	p.first.Files = []string{filepath.Join(p.first.dir, "compose.yaml"), filepath.Join(p.first.dir, "compose.test.yaml")}
	if isRemote {
		p.first.Files = append(p.first.Files, filepath.Join(p.first.dir, "compose.remote.yaml"))
	}
}

func newMachine(t *testing.T, name string, files ...string) *machine {
	t.Helper()
	m := &machine{Project: &harness.Project{Name: name}, dir: t.TempDir()}
	for _, file := range files {
		text, err := os.ReadFile(filepath.Join("..", "..", file))
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(m.dir, filepath.Base(file)), text, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return m
}

func copyTree(t *testing.T, from, to string) {
	t.Helper()
	if out, err := exec.Command("cp", "-r", from+"/.", to).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
}

// client runs commands in the network of the first machine's applications, with the names that they use.
type client struct{ mariadb, postgres string } // containers

func (p *pair) startClient(t *testing.T) *client {
	t.Helper()
	start := func(image string) string {
		id, err := harness.RunDocker(t.Context(), "run", "--detach", "--init", "--network", firstName+"_data", "--env-file", filepath.Join(p.first.dir, ".env"), "--entrypoint", "sleep", image, "infinity")
		if err != nil {
			t.Fatal(err)
		}
		id = strings.TrimSpace(id)
		t.Cleanup(func() { _, _ = harness.RunDocker(context.WithoutCancel(t.Context()), "rm", "--force", "--volumes", id) })
		return id
	}
	return &client{start("edge-test/mariadb:test"), start("edge-test/postgres:test")}
}

// sql runs a statement as BigCapital's user.
func (c *client) sql(ctx context.Context, statement string) (string, error) {
	return inContainer(ctx, c.mariadb, `MYSQL_PWD="$BIGCAPITAL_DB_PASSWORD" exec mariadb --host bigcapital-mysql --user bigcapital --connect-timeout 5 --batch --skip-column-names --execute "$0"`, statement)
}

// psql runs a statement as Corteza's user.
func (c *client) psql(ctx context.Context, statement string) (string, error) {
	return inContainer(ctx, c.postgres, `PGCONNECT_TIMEOUT=5 PGPASSWORD="$CORTEZA_DB_PASSWORD" exec psql --host corteza-db --username corteza --tuples-only --no-align --quiet --set ON_ERROR_STOP=1 --command "$0"`, statement)
}

func inContainer(ctx context.Context, id, script, argument string) (string, error) {
	out, err := exec.CommandContext(ctx, "docker", "exec", id, "sh", "-c", script, argument).CombinedOutput()
	text := strings.TrimSpace(string(out))
	if err != nil {
		return text, fmt.Errorf("%w: %s", err, text)
	}
	return text, nil
}
