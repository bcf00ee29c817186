package databases

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/theworklabs/edge/tests/harness"
)

// TestTheDatabasesMoveToAnotherMachineAndBack, while clients write to them, as docs/databases-apart.md says: no row that was acknowledged
// is missing afterwards. With EDGE_TEST_GIGABYTES, there is as much data. Only the long form moves them back.
func TestTheDatabasesMoveToAnotherMachineAndBack(t *testing.T) {
	p := newPair(t)
	p.first.MustCompose(t, "up", "--detach", "--wait", "bigcapital-mysql", "bigcapital-redis", "corteza-db", "corteza-server", "edge")
	c := p.startClient(t)
	fill(t, c)
	repository := filepath.Join(t.TempDir(), "repository")
	p.first.edge(t, "backup", "init", "--repository", repository)
	copyFile(t, filepath.Join(p.first.dir, "backup.env"), filepath.Join(p.second.dir, "backup.env"))
	p.second.MustCompose(t, "up", "--detach", "--wait")
	if out := p.second.edge(t, "check", "--offline"); strings.Contains(out, "error") {
		t.Errorf("edge check on the second machine:\n%s", out)
	}

	t.Run("there", func(t *testing.T) {
		p.move(t, c, func() {
			p.first.MustCompose(t, "stop", "corteza-server")
			t.Log(p.first.edge(t, "backup", "bigcapital", "corteza", "--max-rate", "unlimited"))
			p.second.MustCompose(t, "up", "--detach", "--wait")
			out := p.second.edge(t, "restore", "latest", "bigcapital", "corteza", "--from", firstName, "--queues")
			if !strings.Contains(out, "this project has no service corteza-server") {
				t.Errorf("the files that stay on the first machine are not named")
			}
			t.Log(out)
			p.setRemote(true)
			p.first.MustCompose(t, "up", "--detach", "--wait", "bigcapital-mysql", "bigcapital-redis", "corteza-db")
		})
	})
	if out := p.first.MustCompose(t, "exec", "-T", "bigcapital-mysql", "haproxy", "-v"); !strings.Contains(out, "HAProxy") {
		t.Errorf("the first machine still has a database: %s", out)
	}
	if !harness.IsLong() {
		return
	}
	t.Run("back", func(t *testing.T) {
		p.move(t, c, func() {
			t.Log(p.second.edge(t, "backup", "bigcapital", "corteza", "--max-rate", "unlimited"))
			p.setRemote(false)
			p.first.MustCompose(t, "up", "--detach", "--wait", "bigcapital-mysql", "bigcapital-redis", "corteza-db")
			t.Log(p.first.edge(t, "restore", "latest", "bigcapital", "corteza", "--from", secondName, "--queues"))
		})
	})
}

// move does the steps of a move while no client writes, and checks that everything is there afterwards.
func (p *pair) move(t *testing.T, c *client, steps func()) {
	t.Helper()
	stopWriting := c.write(t)
	time.Sleep(3 * time.Second)
	written := stopWriting()
	queued := p.queue(t, "SET", "moved", t.Name())
	if queued != "OK" {
		t.Fatalf("redis: %s", queued)
	}
	start := time.Now()
	want := fingerprint(t, c)
	steps()
	harness.EventuallyWithin(t, time.Minute, "the databases respond by their names", func() bool {
		_, err1 := c.sql(t.Context(), "SELECT 1")
		_, err2 := c.psql(t.Context(), "SELECT 1")
		return err1 == nil && err2 == nil
	})
	t.Logf("nothing could be written for %.1f s", time.Since(start).Seconds())
	if got := fingerprint(t, c); got != want {
		t.Errorf("the data is\n%s\nwant\n%s", got, want)
	}
	for i, query := range []func(context.Context, string) (string, error){c.sql, c.psql} {
		table := []string{"bigcapital_system.written", "written"}[i]
		text, err := query(t.Context(), "SELECT COUNT(*) FROM "+table)
		if err != nil {
			t.Fatal(err)
		}
		if rows, err := strconv.Atoi(text); err != nil || rows < written[i] {
			t.Errorf("%s has %s rows, and %d were acknowledged (%v)", table, text, written[i], err)
		}
	}
	if got := p.queue(t, "GET", "moved"); got != t.Name() {
		t.Errorf("the queue has %q", got)
	}
	t.Logf("%d and %d rows were acknowledged, and are there", written[0], written[1])
}

// queue runs a command of Redis, as BigCapital would.
func (p *pair) queue(t *testing.T, args ...string) string {
	t.Helper()
	out, err := harness.RunDocker(t.Context(), append([]string{"run", "--rm", "--network", firstName + "_data", "--entrypoint", "redis-cli", "edge-test/redis:test", "-h", "bigcapital-redis"}, args...)...)
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(out)
}

// fill makes the tables of both applications, as far as the checks of backups need them.
func fill(t *testing.T, c *client) {
	t.Helper()
	gigabytes, _ := strconv.ParseFloat(os.Getenv("EDGE_TEST_GIGABYTES"), 64)
	rows := max(1000, int(gigabytes*1e9/2/400))
	for _, statement := range []string{
		"CREATE TABLE bigcapital_system.TENANTS (ID INT PRIMARY KEY AUTO_INCREMENT, ORGANIZATION_ID VARCHAR(50), BUILT_AT DATETIME)",
		"INSERT INTO bigcapital_system.TENANTS (ORGANIZATION_ID, BUILT_AT) VALUES ('1', NOW())",
		"CREATE TABLE bigcapital_system.written (id INT PRIMARY KEY AUTO_INCREMENT)",
		"CREATE DATABASE bigcapital_tenant_1",
		"CREATE TABLE bigcapital_tenant_1.ACCOUNTS_TRANSACTIONS (ID INT PRIMARY KEY AUTO_INCREMENT, CREDIT DECIMAL(13,3), DEBIT DECIMAL(13,3), NOTE VARCHAR(400))",
		fmt.Sprintf("USE bigcapital_tenant_1; INSERT INTO ACCOUNTS_TRANSACTIONS (CREDIT, DEBIT, NOTE) SELECT seq %% 977, seq %% 977, CONCAT(%s) FROM seq_1_to_%d", strings.TrimSuffix(strings.Repeat("MD5(seq + RAND()), ", 11), ", "), rows),
	} {
		if out, err := c.sql(t.Context(), statement); err != nil {
			t.Fatalf("%.100s: %v %s", statement, err, out)
		}
	}
	for _, statement := range []string{
		"CREATE TABLE written (id serial PRIMARY KEY)",
		"CREATE TABLE compose_namespace (id bigint PRIMARY KEY)",
		"CREATE TABLE compose_module (id bigint PRIMARY KEY, rel_namespace bigint)",
		"CREATE TABLE compose_record (id bigserial PRIMARY KEY, module_id bigint, value text)",
		"CREATE TABLE compose_attachment (id bigserial PRIMARY KEY, url text NOT NULL, preview_url text NOT NULL, deleted_at timestamptz)",
		"INSERT INTO compose_namespace VALUES (1); INSERT INTO compose_module VALUES (1, 1)",
		fmt.Sprintf("INSERT INTO compose_record (module_id, value) SELECT 1, %s FROM generate_series(1, %d)", strings.TrimSuffix(strings.Repeat("md5(random()::text) || ", 11), " || "), rows),
	} {
		if out, err := c.psql(t.Context(), statement); err != nil {
			t.Fatalf("%.100s: %v %s", statement, err, out)
		}
	}
}

// fingerprint returns what the databases have, through the names of the applications.
func fingerprint(t *testing.T, c *client) string {
	t.Helper()
	first, err := c.sql(t.Context(), "SELECT COUNT(*), SUM(CREDIT), MAX(ID), SUM(CRC32(NOTE)) FROM bigcapital_tenant_1.ACCOUNTS_TRANSACTIONS; SELECT COUNT(*), MAX(id) FROM bigcapital_system.written")
	if err != nil {
		t.Fatal(err)
	}
	second, err := c.psql(t.Context(), "SELECT count(*), max(id), sum(hashtext(value)::bigint) FROM compose_record; SELECT count(*), max(id) FROM written")
	if err != nil {
		t.Fatal(err)
	}
	return first + "\n" + second
}

// write inserts rows until stop is called, which returns how many were acknowledged by MariaDB and by PostgreSQL.
func (c *client) write(t *testing.T) (stop func() [2]int) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	var counts [2]int
	var running sync.WaitGroup
	for i, insert := range []func() (string, error){
		func() (string, error) { return c.sql(ctx, "INSERT INTO bigcapital_system.written VALUES ()") },
		func() (string, error) { return c.psql(ctx, "INSERT INTO written DEFAULT VALUES") },
	} {
		running.Go(func() {
			for ctx.Err() == nil {
				if _, err := insert(); err == nil {
					counts[i]++
				} else if ctx.Err() == nil {
					t.Errorf("write: %v", err)
					return
				}
				time.Sleep(writePause())
			}
		})
	}
	return func() [2]int {
		cancel()
		running.Wait()
		return counts
	}
}

func copyFile(t *testing.T, from, to string) {
	t.Helper()
	text, err := os.ReadFile(from)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(to, text, 0o600); err != nil {
		t.Fatal(err)
	}
}
