// Package backup tests `edge backup` and `edge restore` with real databases, while clients write to them.
//
// `make test` runs a short form, in a quarter of an hour beside other suites. The long one, about three hours, is `make backups`.
package backup

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/theworklabs/edge/tests/harness"
)

// projectName is a variable, so that two parts of the long form can run at the same time.
var projectName = cmp.Or(os.Getenv("EDGE_TEST_PROJECT"), "edge-test-backup")

// stack is the project that all tests use, one after the other.
var stack *testStack

func TestMain(m *testing.M) {
	harness.Main(m, harness.Suite{
		Dir: "tests/backup",
		Requires: []harness.Requirement{
			harness.Docker, harness.Compose,
			{"restic", "version"},
			harness.Images("edge:dev", "edge-test/mariadb:test", "edge-test/postgres:test", "edge-test/redis:test", "edge-test/base:test"),
		},
		Setup: func(dir string) error {
			var err error
			stack, err = newTestStack(dir)
			return err
		},
		Teardown: func(bool) error {
			if stack == nil {
				return nil
			}
			return stack.project.Down(context.Background())
		},
	})
}

// testStack is a project with databases, and the repository of its backups.
type testStack struct {
	project    *harness.Project
	dir        string // of the project
	repository string
	recovery   string // the recovery key
}

func newTestStack(dir string) (*testStack, error) {
	text, err := os.ReadFile("compose.yaml")
	if err != nil {
		return nil, err
	}
	s := &testStack{dir: filepath.Join(dir, "project"), repository: filepath.Join(dir, "repository")}
	file := filepath.Join(s.dir, "compose.yaml")
	s.project = &harness.Project{Name: projectName, Files: []string{file}}
	if err := errors.Join(os.Mkdir(s.dir, 0o755), os.WriteFile(file, text, 0o644)); err != nil {
		return nil, err
	}
	ctx := context.Background()
	if err := s.project.Down(ctx); err != nil { // of an earlier run
		return nil, err
	}
	if _, err := s.project.Compose(ctx, "up", "--detach", "--wait"); err != nil {
		return s, err
	}
	if err := s.fill(ctx); err != nil {
		return s, err
	}
	out, err := s.edge(ctx, "backup", "init", "--repository", s.repository)
	for line := range strings.Lines(out) {
		if line = strings.TrimSpace(line); strings.Count(line, "-") == 7 && len(line) == 39 {
			s.recovery = line
		}
	}
	if err != nil {
		return s, err
	}
	return s, s.cheapenKeys()
}

// cheapenKeys makes the keys of the repository cheap: see [harness.CheapenResticKeys].
func (s *testStack) cheapenKeys() error {
	file := filepath.Join(s.dir, "backup.env")
	text, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	variables := make(map[string]string)
	for line := range strings.Lines(string(text)) {
		if name, value, found := strings.Cut(strings.TrimSpace(line), "="); found {
			variables[name] = value
		}
	}
	ids, err := harness.CheapenResticKeys(s.repository, variables["EDGE_BACKUP_PASSWORD"], s.recovery)
	if err != nil {
		return err
	}
	hint := variables["RESTIC_KEY_HINT"]
	if hint == "" {
		return errors.New("backup.env has no RESTIC_KEY_HINT")
	}
	return os.WriteFile(file, []byte(strings.Replace(string(text), hint, ids[variables["EDGE_BACKUP_PASSWORD"]], 1)), 0o600)
}

// edge runs a command of the edge on the project, and returns what it printed.
func (s *testStack) edge(ctx context.Context, args ...string) (string, error) {
	out, err := s.command(ctx, args...).CombinedOutput()
	if err != nil {
		return string(out), fmt.Errorf("edge %s: %w\n%s", strings.Join(args, " "), err, out)
	}
	return string(out), nil
}

func (s *testStack) command(ctx context.Context, args ...string) *exec.Cmd {
	path, err := harness.EdgeBinary()
	if err != nil {
		panic(err) // harness.Main has built it
	}
	args = append(args, "--project-name", projectName, "--file", filepath.Join(s.dir, "compose.yaml"))
	cmd := exec.CommandContext(ctx, path, args...)
	cmd.WaitDelay = 20 * time.Second
	return cmd
}

// mustEdge fails the test if the command fails. A backup takes it as right that the tests before it have removed data.
func (s *testStack) mustEdge(t *testing.T, args ...string) string {
	t.Helper()
	if args[0] == "backup" && (len(args) == 1 || !slices.Contains([]string{"init", "list", "logs"}, args[1])) {
		args = append(slices.Clone(args), "--accept-shrunk")
	}
	out, err := s.edge(t.Context(), args...)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// fill creates the tables of both applications, as far as the checks need them, and some rows.
func (s *testStack) fill(ctx context.Context) error {
	var sql strings.Builder
	sql.WriteString("CREATE TABLE bigcapital_system.TENANTS (ID INT PRIMARY KEY AUTO_INCREMENT, ORGANIZATION_ID VARCHAR(50), BUILT_AT DATETIME);\n")
	for i := range tenants {
		fmt.Fprintf(&sql, `CREATE DATABASE bigcapital_tenant_%[1]d; USE bigcapital_tenant_%[1]d;
CREATE TABLE ACCOUNTS (ID INT PRIMARY KEY AUTO_INCREMENT, NAME VARCHAR(50));
CREATE TABLE ACCOUNTS_TRANSACTIONS (ID INT PRIMARY KEY AUTO_INCREMENT, ACCOUNT_ID INT, CREDIT DECIMAL(13,3), DEBIT DECIMAL(13,3), FOREIGN KEY (ACCOUNT_ID) REFERENCES ACCOUNTS(ID));
CREATE TABLE knex_migrations (id INT PRIMARY KEY AUTO_INCREMENT, name VARCHAR(50));
INSERT INTO ACCOUNTS (NAME) VALUES ('cash'), ('sales'); INSERT INTO knex_migrations (name) VALUES ('20200101_first'), ('20240101_last');
INSERT INTO ACCOUNTS_TRANSACTIONS (ACCOUNT_ID, CREDIT, DEBIT) VALUES (1, 100, 0), (2, 0, 100);
INSERT INTO bigcapital_system.TENANTS (ORGANIZATION_ID, BUILT_AT) VALUES ('%[1]d', NOW());
`, i+1)
	}
	if err := s.mariadb(ctx, sql.String()); err != nil {
		return err
	}
	if err := s.psql(ctx, `CREATE TABLE compose_namespace (id bigint PRIMARY KEY);
CREATE TABLE compose_module (id bigint PRIMARY KEY, rel_namespace bigint);
CREATE TABLE compose_record (id bigserial PRIMARY KEY, module_id bigint, value text);
CREATE TABLE compose_attachment (id bigserial PRIMARY KEY, url text NOT NULL, preview_url text NOT NULL, deleted_at timestamptz);
INSERT INTO compose_attachment (url, preview_url, deleted_at) VALUES ('/compose/1.pdf', '', NULL), ('/compose/gone.pdf', '', now());
INSERT INTO compose_namespace VALUES (1); INSERT INTO compose_module VALUES (1, 1);
INSERT INTO compose_record (module_id, value) SELECT 1, md5(i::text) FROM generate_series(1, 5000) i;
`); err != nil {
		return err
	}
	_, err := s.project.Compose(ctx, "exec", "-T", "crm", "sh", "-c", "mkdir -p /data/compose && echo attachment >/data/compose/1.pdf && echo upload >/data/uploads/2.png")
	return err
}

// tenants is how many databases of tenants BigCapital has.
const tenants = 3

func (s *testStack) mariadb(ctx context.Context, sql string) error {
	return s.pipe(ctx, sql, "shop-db", "sh", "-c", `MYSQL_PWD="$MARIADB_ROOT_PASSWORD" exec mariadb --user=root`)
}

func (s *testStack) psql(ctx context.Context, sql string) error {
	return s.pipe(ctx, sql, "crm-db", "psql", "--quiet", "--username", "corteza", "--set", "ON_ERROR_STOP=1")
}

// pipe runs a command in a service's container with an input.
func (s *testStack) pipe(ctx context.Context, input, service string, command ...string) error {
	id, err := s.project.Container(ctx, service)
	if err != nil {
		return err
	}
	cmd := exec.CommandContext(ctx, "docker", append([]string{"exec", "-i", id}, command...)...)
	cmd.Stdin = strings.NewReader(input)
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("%s: %w: %s", service, err, out)
	}
	return nil
}

// query returns what a statement prints.
func (s *testStack) query(t *testing.T, service, sql string) string {
	t.Helper()
	command := []string{"exec", "-T", service, "sh", "-c", `MYSQL_PWD="$MARIADB_ROOT_PASSWORD" exec mariadb --user=root --batch --skip-column-names --execute "$0"`, sql}
	if service == "crm-db" {
		command = []string{"exec", "-T", service, "psql", "--username", "corteza", "--tuples-only", "--no-align", "--command", sql}
	}
	return strings.TrimSpace(s.project.MustCompose(t, command...))
}

// writeAll writes to both databases until stop is called, about 100 transactions a second in each.
func (s *testStack) writeAll(t *testing.T) (stop func() (mariadb, postgres int64)) {
	t.Helper()
	var written [2]atomic.Int64
	end := s.write(t, 10*time.Millisecond,
		func(n int64) string {
			written[0].Store(n + 1)
			return fmt.Sprintf("INSERT INTO bigcapital_tenant_%d.ACCOUNTS_TRANSACTIONS (ACCOUNT_ID, CREDIT, DEBIT) VALUES (1, %d, 0), (2, 0, %[2]d);\n", n%tenants+1, n%1000)
		},
		func(n int64) string {
			written[1].Store(n + 1)
			return fmt.Sprintf("INSERT INTO compose_record (module_id, value) VALUES (1, md5('%d'));\n", n)
		})
	return func() (int64, int64) {
		end()
		return written[0].Load(), written[1].Load()
	}
}

// write runs a statement in each database again and again, until stop is called.
func (s *testStack) write(t *testing.T, interval time.Duration, mariadb, postgres func(n int64) string) (stop func()) {
	t.Helper()
	return s.writeTo(t, interval, mariadb, postgres, t.Errorf)
}

// writeTo is write with a function that is told of errors.
func (s *testStack) writeTo(t *testing.T, interval time.Duration, mariadb, postgres func(n int64) string, onError func(format string, args ...any)) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{}, 2)
	for _, w := range []struct {
		service string
		command []string
		sql     func(n int64) string
	}{
		{"shop-db", []string{"sh", "-c", `MYSQL_PWD="$MARIADB_ROOT_PASSWORD" exec mariadb --user=root`}, mariadb},
		{"crm-db", []string{"psql", "--quiet", "--username", "corteza"}, postgres},
	} {
		id, err := s.project.Container(ctx, w.service)
		if err != nil {
			t.Fatal(err)
		}
		cmd := exec.Command("docker", append([]string{"exec", "-i", id}, w.command...)...)
		var stderr bytes.Buffer
		cmd.Stderr = &stderr
		input, err := cmd.StdinPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		go func() {
			defer func() { done <- struct{}{} }()
			tick := time.NewTicker(interval)
			defer tick.Stop()
			for n := int64(0); ctx.Err() == nil; n++ {
				if _, err := input.Write([]byte(w.sql(n))); err != nil {
					onError("write to %s: %v", w.service, err)
					break
				}
				<-tick.C
			}
			_ = input.Close()
			if err := cmd.Wait(); err != nil {
				onError("%s: %v: %s", w.service, err, stderr.String())
			}
		}()
	}
	return func() {
		cancel()
		<-done
		<-done
	}
}

// set is a set in the list of the edge.
type set struct {
	Set, App    string
	Size, Added int64
}

// sets returns the sets that can be restored.
func (s *testStack) sets(t *testing.T) []set {
	t.Helper()
	var list struct{ Sets []set }
	out, err := s.command(t.Context(), "backup", "list", "--json").Output()
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(out, &list); err != nil {
		t.Fatal(err)
	}
	return list.Sets
}

// manifest is the part of a manifest that the tests look at.
type manifest struct {
	Databases []struct {
		Service     string
		SameInstant bool `json:"same_instant"`
		Tables      map[string]int64
	}
}

// loadManifest returns the manifest of the latest set of an application, as restic alone gets it.
func (s *testStack) loadManifest(t *testing.T, app string) manifest {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "restic", "dump", "--tag", "app="+app+",part=manifest.json", "latest", "/manifest.json")
	cmd.Env = append(os.Environ(), "RESTIC_REPOSITORY="+s.repository, "RESTIC_PASSWORD="+s.recovery)
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("restic dump: %v", err)
	}
	var m manifest
	if err := json.Unmarshal(out, &m); err != nil {
		t.Fatal(err)
	}
	return m
}
