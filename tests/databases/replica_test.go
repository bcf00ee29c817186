package databases

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/theworklabs/edge/internal/replication"
	"github.com/theworklabs/edge/tests/harness"
)

// trio is a pair whose second machine has a replica, the third.
type trio struct {
	*pair
	third  *machine
	byHost map[string]*machine

	oldRows int // that expectNoWrites has tried to write
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
	services := []string{"bigcapital-mysql", "bigcapital-redis", "corteza-db", "corteza-server", "gate", "edge", "replication"}
	if harness.IsLong() {
		p.first.observe(t)
		services = append(services, "prometheus")
	}
	p.second.MustCompose(t, "up", "--detach")
	tr.third.MustCompose(t, "up", "--detach", "--wait")
	p.second.MustCompose(t, "up", "--detach", "--wait")
	p.first.MustCompose(t, append([]string{"up", "--detach", "--wait"}, services...)...)
	return tr
}

// observe adds Prometheus with the shipped alerts to the machine.
func (m *machine) observe(t *testing.T) {
	t.Helper()
	hash := strings.TrimSpace(m.run(t, "hash-password", "--bcrypt-cost", "10", "--plaintext", "of nobody"))
	m.Setenv("OBSERVABILITY_PASSWORD_HASH", hash)
	m.Setenv("OBSERVABILITY_SUBNET", "172.16.183.0/24")
	m.Setenv("OBSERVABILITY_RANGE", "172.16.183.128/25")
	copyTree(t, "../../observability", mkdir(t, filepath.Join(m.dir, "observability")))
	for _, file := range []string{"../../compose.observability.yaml", "../compose.prometheus.yaml"} {
		to := filepath.Join(m.dir, filepath.Base(file))
		copyFile(t, file, to)
		m.Files = append(m.Files, to)
	}
}

func mkdir(t *testing.T, dir string) string {
	t.Helper()
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	return dir
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

// TestReplica has a primary and a replica on two machines, and loses each under writes, in four minutes. With EDGE_TEST_LONG, it loses the replica in all ways, has
// it behind a bad network and on a full disk, takes backups on it, measures commits, and has promotions that are refused or interrupted; EDGE_TEST_KILLS and
// EDGE_TEST_INTERRUPTIONS say how many (`make replica`: 20 each, in an hour and a half).
func TestReplica(t *testing.T) {
	tr, c := replicated(t)
	if harness.IsLong() {
		t.Run("nobody looks", func(t *testing.T) { tr.testNobodyLooks(t) })
		t.Run("the primary is down", func(t *testing.T) { tr.testPrimaryIsDown(t, c) })
		t.Run("the replica is lost", func(t *testing.T) { tr.testLostReplica(t, c) })
		t.Run("backups are taken on the replica", func(t *testing.T) { tr.testBackups(t, c) })
		t.Run("what a commit costs", func(t *testing.T) { tr.testCommitLatency(t, c) })
		t.Run("the network is bad", func(t *testing.T) { tr.testBadNetwork(t, c) })
		t.Run("the replica's disk is full", func(t *testing.T) { tr.testFullDisk(t, c) })
		t.Run("the network is cut", func(t *testing.T) { tr.testCut(t, c) })
	}
	t.Run("the replica takes over", func(t *testing.T) { tr.testTakeovers(t, c) })
	if harness.IsLong() {
		t.Run("promotions are refused", func(t *testing.T) { tr.testRefusedPromotions(t, c) })
		t.Run("promotions are interrupted", func(t *testing.T) { tr.testInterruptedPromotions(t, c) })
		t.Run("without a replica again", func(t *testing.T) { tr.testWithoutReplica(t, c) })
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
		v := tr.startVisitor(t)
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
		v.stop(t)
		if keys := tr.queue(t, "KEYS", "*"); keys != "" { // also not those of an earlier round, from when this machine was the primary
			t.Errorf("after the promotion, the queues have %s", keys)
		}
		w.stop(t, c)
		w.expectAll(t, c)
		tr.expectNoWrites(t, primary, restarted)
		if !harness.IsLong() {
			return // the copy for the new replica takes minutes
		}
		t.Log(tr.first.edge(t, "replica", "rejoin"))
		tr.expectNoOldRows(t, primary)
	}
	t.Log(tr.first.edge(t, "replica", "status"))
}

// These say why an old primary acknowledges no write: it has started again, and is read-only; or it has run on, and waits for its replica.
const (
	restarted = true
	runningOn = false
)

// expectNoWrites starts an old primary again, if it does not run, and fails the test unless it refuses a write, or has a client wait for ever.
func (tr *trio) expectNoWrites(t *testing.T, m *machine, isRestarted bool) {
	t.Helper()
	tr.oldRows++
	m.MustCompose(t, "up", "--detach", "--wait", "bigcapital-mysql", "corteza-db")
	for service, script := range map[string]string{
		"bigcapital-mysql": `MYSQL_PWD="$MARIADB_PASSWORD" timeout 5 mariadb --user "$MARIADB_USER" --execute "INSERT INTO bigcapital_system.numbers VALUES ('$0')"`,
		"corteza-db":       `timeout 5 psql --username "$POSTGRES_USER" "$POSTGRES_DB" --command "INSERT INTO numbers VALUES ('$0')"`,
	} {
		want := "exit status 124" // of timeout
		if isRestarted {
			want = map[string]string{"bigcapital-mysql": "running with the --read-only option", "corteza-db": "read-only transaction"}[service]
		}
		out, err := m.Compose(t.Context(), "exec", "-T", service, "sh", "-c", script, fmt.Sprintf("old%d", tr.oldRows))
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s of the old primary does not say %q: %s, %v", service, want, out, err)
		}
	}
}

// expectNoOldRows fails the test if a machine, which was a primary and follows the new one now, has a row of [trio.expectNoWrites].
func (tr *trio) expectNoOldRows(t *testing.T, m *machine) {
	t.Helper()
	for service, script := range map[string]string{
		"bigcapital-mysql": `MYSQL_PWD="$MARIADB_ROOT_PASSWORD" mariadb --batch --skip-column-names --execute "SELECT count(*) FROM bigcapital_system.numbers WHERE name LIKE 'old%'"`,
		"corteza-db":       `psql --username "$POSTGRES_USER" "$POSTGRES_DB" --tuples-only --no-align --command "SELECT count(*) FROM numbers WHERE name LIKE 'old%'"`,
	} {
		if out := strings.TrimSpace(m.MustCompose(t, "exec", "-T", service, "sh", "-c", script)); out != "0" {
			t.Errorf("%s has %s rows that an old primary has not acknowledged", service, out)
		}
	}
}
