package databases

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/theworklabs/edge/internal/replication"
	"github.com/theworklabs/edge/tests/harness"
)

// trio is a pair whose second machine has a replica, the third.
type trio struct {
	*pair
	third  *machine
	byHost map[string]*machine
}

// newTrio makes all directories as docs/replication.md does, and makes the third machine a replica.
func newTrio(t *testing.T) *trio {
	t.Helper()
	p := newPair(t)
	_, _ = harness.RunDocker(t.Context(), "network", "rm", lanName)
	harness.MustDocker(t, "network", "create", lanName)
	t.Cleanup(func() { harness.MustDocker(t, "network", "rm", lanName) })
	address := harness.MustDocker(t, "network", "inspect", lanName, "--format", "{{(index .IPAM.Config 0).Gateway}}")
	tr := &trio{pair: p, third: newMachine(t, thirdName, "compose.databases.yaml", "compose.replica.yaml")}
	tr.byHost = map[string]*machine{p.address: p.second, address: tr.third}
	for _, m := range []*machine{tr.third} {
		m.Setenv("HAPROXY_IMAGE", "edge-test/haproxy:test")
		m.Setenv("DATABASES_PORT", p.port)
	}
	env := filepath.Join(p.first.dir, ".env")
	out := p.first.run(t, "init", "--file", env, "--replica", address)
	t.Log(out)
	written := filepath.Join(p.first.dir, "databases", "replica-"+address)
	copyTree(t, filepath.Join(written, "replica"), tr.third.dir)
	copyFile(t, filepath.Join(written, "primary", "databases", "replication.pem"), filepath.Join(p.second.dir, "databases", "replication.pem"))
	appendLine(t, filepath.Join(p.second.dir, ".env"), string(readFile(t, filepath.Join(written, "primary", "replica.env"))))
	copyFile(t, "../../compose.replica.yaml", filepath.Join(p.second.dir, "compose.replica.yaml"))
	copyFile(t, "../../compose.replicated.yaml", filepath.Join(p.first.dir, "compose.replicated.yaml"))
	for _, m := range []*machine{p.second, tr.third} {
		for _, name := range []string{"authority.pem", "replication.pem", "server.pem"} { // copyFile makes files for the owner alone
			if err := os.Chmod(filepath.Join(m.dir, "databases", name), 0o644); err != nil {
				t.Fatal(err)
			}
		}
	}
	for _, line := range []string{
		"DATABASES_REPLICA=" + address,
		"DATABASES_DOCKER=unix:///var/run/docker.sock", "DATABASES_REPLICA_DOCKER=unix:///var/run/docker.sock",
		"DATABASES_PROJECT=" + secondName, "DATABASES_REPLICA_PROJECT=" + thirdName,
	} {
		appendLine(t, env, line)
	}
	tr.third.useTestImages(t)
	for _, m := range []*machine{p.second, tr.third} {
		m.Files = append(m.Files, filepath.Join(m.dir, "compose.replica.yaml"))
	}
	if harness.IsLong() {
		tr.third.putOnSmallDisk(t, 2000)
	}
	tr.third.downAtEnd(t)
	p.setRemote(true)
	p.first.Files = append(p.first.Files, filepath.Join(p.first.dir, "compose.replicated.yaml"))
	p.second.MustCompose(t, "up", "--detach")
	tr.third.MustCompose(t, "up", "--detach", "--wait")
	p.second.MustCompose(t, "up", "--detach", "--wait")
	p.first.MustCompose(t, "up", "--detach", "--wait", "bigcapital-mysql", "bigcapital-redis", "corteza-db", "edge", "replication")
	return tr
}

func (tr *trio) state(t *testing.T) *replication.State {
	t.Helper()
	state := new(replication.State)
	if err := json.NewDecoder(strings.NewReader(tr.first.tryEdge(t, "replica", "status", "--json"))).Decode(state); err != nil {
		t.Fatal(err)
	}
	return state
}

// hosts returns the machines with the primary and with the replica, as .env has them.
func (tr *trio) hosts(t *testing.T) (primary, replica *machine) {
	t.Helper()
	s := tr.state(t)
	return tr.byHost[s.Primary], tr.byHost[s.Replica]
}

// writer inserts numbers through the names of the applications, and keeps those that were acknowledged.
type writer struct {
	mu           sync.Mutex
	acknowledged [2][]string // by database: MariaDB, PostgreSQL
	last         [2]time.Time
	longest      [2]time.Duration // between two acknowledgements
	cancel       context.CancelFunc
	running      sync.WaitGroup
}

// writePause is the time between two writes to a database. Each is a program that connects: without a pause they take all of two processors, and health checks
// no longer end in time.
func writePause() time.Duration {
	if harness.IsLong() {
		return 50 * time.Millisecond
	}
	return 200 * time.Millisecond
}

var writeScripts = [2]string{
	`while :; do i=$((i + 1)); MYSQL_PWD="$BIGCAPITAL_DB_PASSWORD" timeout 60 mariadb --host bigcapital-mysql --user bigcapital --connect-timeout 2 --execute "INSERT INTO bigcapital_system.numbers VALUES ('$0-$i')" 2>/dev/null && echo "$0-$i"; sleep "$PAUSE"; done`,
	`while :; do i=$((i + 1)); PGCONNECT_TIMEOUT=2 PGPASSWORD="$CORTEZA_DB_PASSWORD" timeout 60 psql --host corteza-db --username corteza --quiet --command "INSERT INTO numbers VALUES ('$0-$i')" 2>/dev/null && echo "$0-$i"; sleep "$PAUSE"; done`,
}

func (c *client) startWriter(t *testing.T, name string) *writer {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	w := &writer{cancel: cancel}
	for i, container := range []string{c.mariadb, c.postgres} {
		cmd := exec.CommandContext(ctx, "docker", "exec", "--env", "PAUSE="+fmt.Sprint(writePause().Seconds()), container, "bash", "-c", "i=0; "+writeScripts[i], name)
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		w.last[i] = time.Now()
		w.running.Go(func() {
			lines := bufio.NewScanner(out)
			for lines.Scan() {
				now := time.Now()
				w.mu.Lock()
				w.acknowledged[i] = append(w.acknowledged[i], lines.Text())
				w.longest[i] = max(w.longest[i], now.Sub(w.last[i]))
				w.last[i] = now
				w.mu.Unlock()
			}
			_ = cmd.Wait()
		})
	}
	return w
}

func (w *writer) count() (n [2]int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for i := range n {
		n[i] = len(w.acknowledged[i])
	}
	return n
}

// stop ends the writer, also in its containers.
func (w *writer) stop(t *testing.T, c *client) {
	t.Helper()
	for _, container := range []string{c.mariadb, c.postgres} {
		_, _ = inContainer(context.WithoutCancel(t.Context()), container, "pkill -f numbers; true", "")
	}
	w.cancel()
	w.running.Wait()
}

// expectAll fails the test if an acknowledged number is missing.
func (w *writer) expectAll(t *testing.T, c *client) {
	t.Helper()
	for i, query := range []func(context.Context, string) (string, error){c.sql, c.psql} {
		table := []string{"bigcapital_system.numbers", "numbers"}[i]
		text, err := query(t.Context(), "SELECT name FROM "+table)
		if err != nil {
			t.Fatal(err)
		}
		there := make(map[string]bool)
		for _, name := range strings.Fields(text) {
			there[name] = true
		}
		missing := 0
		for _, name := range w.acknowledged[i] {
			if !there[name] {
				missing++
			}
		}
		if missing > 0 {
			t.Errorf("%s: %d of %d acknowledged rows are missing", table, missing, len(w.acknowledged[i]))
		}
		t.Logf("%s: %d acknowledged rows, %d missing, nothing was acknowledged for %.1f s", table, len(w.acknowledged[i]), missing, w.longest[i].Seconds())
	}
}

// TestReplica has a primary and a replica on two machines, and loses each under writes, in four minutes. With EDGE_TEST_LONG, it loses the replica in all ways, has
// it behind a bad network and on a full disk, takes backups on it, measures commits, and has promotions that are refused or interrupted; EDGE_TEST_KILLS and
// EDGE_TEST_INTERRUPTIONS say how many (`make replica`: 20 each, in an hour and a half).
func TestReplica(t *testing.T) {
	tr, c := replicated(t)
	if harness.IsLong() {
		t.Run("nobody looks", func(t *testing.T) { tr.testNobodyLooks(t) })
		t.Run("the replica is lost", func(t *testing.T) { tr.testLostReplica(t, c) })
		t.Run("backups are taken on the replica", func(t *testing.T) { tr.testBackups(t, c) })
		t.Run("what a commit costs", func(t *testing.T) { tr.testCommitLatency(t, c) })
		t.Run("the network is bad", func(t *testing.T) { tr.testBadNetwork(t, c) })
		t.Run("the replica's disk is full", func(t *testing.T) { tr.testFullDisk(t, c) })
	}
	t.Run("the replica takes over", func(t *testing.T) { tr.testTakeovers(t, c) })
	if harness.IsLong() {
		t.Run("promotions are refused", func(t *testing.T) { tr.testRefusedPromotions(t, c) })
		t.Run("promotions are interrupted", func(t *testing.T) { tr.testInterruptedPromotions(t, c) })
	}
}

// testTakeovers kills both primaries under writes. No acknowledged row is missing after the promotion, and the old primary takes no write before it is a
// replica. In every second round, the primary's Engine does not respond either.
func (tr *trio) testTakeovers(t *testing.T, c *client) {
	env := filepath.Join(tr.first.dir, ".env")
	for round := range harness.Count(t, "EDGE_TEST_KILLS", 1) {
		primary, _ := tr.hosts(t)
		w := c.startWriter(t, fmt.Sprintf("kill%d", round))
		harness.Eventually(t, "rows are written", func() bool { n := w.count(); return min(n[0], n[1]) > 20 })
		tr.queue(t, "SET", fmt.Sprintf("job%d", round), "x")
		if round%2 == 0 {
			primary.MustCompose(t, "kill", "bigcapital-mysql", "corteza-db")
			t.Log(tr.first.edge(t, "replica", "promote"))
		} else {
			primary.MustCompose(t, "kill", "bigcapital-mysql", "corteza-db", "databases")
			appendLine(t, env, "DATABASES_DOCKER=unix:///nonexistent/docker.sock")
			t.Log(tr.first.edge(t, "replica", "promote", "--primary-is-off"))
			appendLine(t, env, "DATABASES_REPLICA_DOCKER=unix:///var/run/docker.sock") // the machine is on again
		}
		w.expectMore(t, "rows are written again")
		if keys := tr.queue(t, "KEYS", "*"); keys != "" { // also not those of an earlier round, from when this machine was the primary
			t.Errorf("after the promotion, the queues have %s", keys)
		}
		w.stop(t, c)
		w.expectAll(t, c)
		tr.expectNoWrites(t, primary)
		if !harness.IsLong() {
			return // the copy for the new replica takes minutes
		}
		t.Log(tr.first.edge(t, "replica", "rejoin"))
	}
	t.Log(tr.first.edge(t, "replica", "status"))
}

// expectMore waits until more rows are acknowledged.
func (w *writer) expectMore(t *testing.T, what string) {
	t.Helper()
	n := w.count()
	harness.EventuallyWithin(t, time.Minute, what, func() bool { now := w.count(); return now[0] > n[0]+3 && now[1] > n[1]+3 })
}

// expectNoWrites starts an old primary again, and fails the test if it acknowledges a write.
func (tr *trio) expectNoWrites(t *testing.T, m *machine) {
	t.Helper()
	m.MustCompose(t, "up", "--detach", "--wait", "bigcapital-mysql", "corteza-db")
	for service, script := range map[string]string{
		"bigcapital-mysql": `MYSQL_PWD="$MARIADB_PASSWORD" timeout 5 mariadb --user "$MARIADB_USER" --execute "INSERT INTO bigcapital_system.numbers VALUES ('old')"`,
		"corteza-db":       `timeout 5 psql --username "$POSTGRES_USER" "$POSTGRES_DB" --command "INSERT INTO numbers VALUES ('old')"`,
	} {
		if out, err := m.Compose(t.Context(), "exec", "-T", service, "sh", "-c", script); err == nil {
			t.Errorf("the old primary takes a write: %s", out)
		} else {
			t.Logf("the old primary: %v", err)
		}
	}
}
