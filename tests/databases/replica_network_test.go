package databases

import (
	"context"
	"fmt"
	"io"
	"net"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/theworklabs/edge/internal/replication"
	"github.com/theworklabs/edge/tests/harness"
)

// slowLink passes connections on to an address, each byte after a delay, as the network between two places does. This kernel has no netem.
type slowLink struct {
	address string       // of its listener
	delay   atomic.Int64 // one way
}

// startSlowLink listens on the address of a network of its own, at the port of the databases.
func startSlowLink(t *testing.T, host, port string) *slowLink {
	t.Helper()
	name := lanName + "-slow"
	_, _ = harness.RunDocker(t.Context(), "network", "rm", name)
	harness.MustDocker(t, "network", "create", name)
	t.Cleanup(func() { harness.MustDocker(t, "network", "rm", name) })
	l := &slowLink{address: harness.MustDocker(t, "network", "inspect", name, "--format", "{{(index .IPAM.Config 0).Gateway}}")}
	listener, err := net.Listen("tcp", net.JoinHostPort(l.address, port))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = listener.Close() })
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			go l.serve(conn, net.JoinHostPort(host, port))
		}
	}()
	return l
}

func (l *slowLink) serve(client net.Conn, address string) {
	defer client.Close()
	server, err := net.Dial("tcp", address)
	if err != nil {
		return
	}
	defer server.Close()
	ended := make(chan struct{}, 2)
	for _, way := range [][2]net.Conn{{client, server}, {server, client}} {
		go func() {
			l.pump(way[1], way[0])
			ended <- struct{}{}
		}()
	}
	<-ended
}

// pump copies what arrives, and keeps each piece for the delay. Any number of pieces is under way at once.
func (l *slowLink) pump(to io.Writer, from io.Reader) {
	type piece struct {
		due  time.Time
		text []byte
	}
	pieces := make(chan piece, 4096)
	go func() {
		defer close(pieces)
		for {
			buffer := make([]byte, 32<<10)
			n, err := from.Read(buffer)
			if n > 0 {
				pieces <- piece{time.Now().Add(time.Duration(l.delay.Load())), buffer[:n]}
			}
			if err != nil {
				return
			}
		}
	}()
	for p := range pieces {
		time.Sleep(time.Until(p.due))
		if _, err := to.Write(p.text); err != nil {
			break
		}
	}
	for range pieces { // so that the reader ends
	}
}

// useLink has the replica reach the primary by another address, and waits until it has everything.
func (tr *trio) useLink(t *testing.T, address string) {
	t.Helper()
	_, replica := tr.hosts(t)
	replica.Setenv("DATABASES_PEER", address)
	replica.MustCompose(t, "up", "--detach", "--wait", "--no-deps", "peer")
	time.Sleep(5 * time.Second) // the connections of the old one have ended
	tr.eventuallyMode(t, replication.Synchronous)
}

// dropPackets loses a share of the packets of a container in each direction, all if that is 1, until the test ends or undo is called.
func dropPackets(t *testing.T, container string, share float64) (undo func()) {
	t.Helper()
	var undos [][]string
	undo = func() {
		for _, args := range undos {
			if out, err := exec.Command("iptables", args...).CombinedOutput(); err != nil {
				t.Errorf("iptables %v: %v: %s", args, err, out)
			}
		}
		undos = nil
	}
	t.Cleanup(undo)
	for address := range strings.FieldsSeq(harness.MustDocker(t, "inspect", "--format", "{{range .NetworkSettings.Networks}}{{.IPAddress}} {{end}}", container)) {
		for _, rule := range [][]string{{"PREROUTING", "--source", address}, {"POSTROUTING", "--destination", address}} {
			if share < 1 {
				rule = append(rule, "--protocol", "tcp", "--match", "statistic", "--mode", "random", "--probability", fmt.Sprint(share))
			}
			rule = append(rule, "--jump", "DROP")
			if out, err := exec.Command("iptables", append([]string{"--table", "mangle", "--append"}, rule...)...).CombinedOutput(); err != nil {
				t.Fatalf("iptables %v: %v: %s", rule, err, out)
			}
			undos = append(undos, append([]string{"--table", "mangle", "--delete"}, rule...))
		}
	}
	return undo
}

// testBadNetwork has the replica far away, and then behind a network that loses packets. Commits take longer, and nothing is lost.
func (tr *trio) testBadNetwork(t *testing.T, c *client) {
	s := tr.state(t)
	link := startSlowLink(t, s.Primary, tr.port)
	t.Run("it is far away", func(t *testing.T) {
		defer tr.useLink(t, s.Primary)
		for i, delay := range []time.Duration{0, 5 * time.Millisecond, 50 * time.Millisecond} {
			link.delay.Store(int64(delay))
			if delay == 0 {
				tr.useLink(t, link.address)
			}
			tr.logCommits(t, c, fmt.Sprintf("the replica is %v away (there and back: %v)", delay, 2*delay), []int{200, 100, 20}[i])
		}
		w := c.startWriter(t, "far")
		defer w.stop(t, c)
		w.expectMore(t, "rows are written")
		link.delay.Store(int64(time.Second))
		time.Sleep(20 * time.Second)
		w.expectMore(t, "rows are written with two seconds between the machines")
		tr.expectAlert(t, "CommitsSlow")
		t.Log(tr.first.tryEdge(t, "replica", "status"))
		link.delay.Store(0)
		w.stop(t, c)
		w.expectAll(t, c)
	})
	t.Run("the network loses packets", func(t *testing.T) {
		_, replica := tr.hosts(t)
		peer, err := replica.Container(t.Context(), "peer")
		if err != nil {
			t.Fatal(err)
		}
		harness.EventuallyWithin(t, 2*time.Minute, "CommitsSlow is not even pending", func() bool {
			alerts, err := tr.first.Alerts(t.Context(), `alertname="CommitsSlow"`)
			return err == nil && len(alerts) == 0
		})
		w := c.startWriter(t, "lossy")
		defer w.stop(t, c)
		for _, share := range []float64{0.02, 0.1, 0.3} {
			undo := dropPackets(t, peer, share)
			before, start := w.count(), time.Now()
			time.Sleep(20 * time.Second)
			w.expectMore(t, "rows are written")
			after, took := w.count(), time.Since(start).Seconds()
			alerts, err := tr.first.Alerts(t.Context(), `alertname="CommitsSlow"`)
			t.Logf("%.0f %% of the packets are lost: %.1f and %.1f rows a second; CommitsSlow: %v, %v", 100*share, float64(after[0]-before[0])/took, float64(after[1]-before[1])/took, alerts, err)
			undo()
		}
		tr.eventuallyMode(t, replication.Synchronous)
		w.stop(t, c)
		w.expectAll(t, c)
	})
}

// testCommitLatency measures what a commit costs with the replica, and by the primary alone.
func (tr *trio) testCommitLatency(t *testing.T, c *client) {
	_, replica := tr.hosts(t)
	tr.logCommits(t, c, "with the replica", 200)
	tr.setPolicy(t, replication.Continue)
	defer tr.setPolicy(t, replication.Stop)
	replica.MustCompose(t, "stop", "peer")
	tr.eventuallyMode(t, replication.Alone)
	tr.logCommits(t, c, "the primary alone", 200)
	replica.MustCompose(t, "start", "peer")
	tr.eventuallyMode(t, replication.Synchronous)
	tr.logCommits(t, c, "with the replica", 200)
}

// logCommits logs how long a commit of one client takes, with what the way through the proxies takes, too.
func (tr *trio) logCommits(t *testing.T, c *client, what string, commits int) {
	t.Helper()
	const rounds = 5
	var took [2][]time.Duration
	for range rounds {
		for i, run := range []func(int) error{
			func(n int) error { return c.commit(t.Context(), c.mariadb, mariadbCommits, n) },
			func(n int) error { return c.commit(t.Context(), c.postgres, postgresCommits, n) },
		} {
			var times [2]time.Duration // of the connection alone, and with the commits
			for j, n := range []int{1, commits + 1} {
				start := time.Now()
				if err := run(n); err != nil {
					t.Fatal(err)
				}
				times[j] = time.Since(start)
			}
			took[i] = append(took[i], (times[1]-times[0])/time.Duration(commits))
		}
	}
	for i := range took {
		slices.Sort(took[i])
	}
	t.Logf("%s, a commit takes, median of %d rounds of %d commits: MariaDB %v, PostgreSQL %v", what, rounds, commits,
		took[0][rounds/2].Round(10*time.Microsecond), took[1][rounds/2].Round(10*time.Microsecond))
}

// The scripts commit $0 rows over one connection.
const (
	mariadbCommits  = `for i in $(seq "$0"); do echo "INSERT INTO bigcapital_system.numbers VALUES (UUID());"; done | MYSQL_PWD="$BIGCAPITAL_DB_PASSWORD" mariadb --host bigcapital-mysql --user bigcapital`
	postgresCommits = `for i in $(seq "$0"); do echo "INSERT INTO numbers VALUES (gen_random_uuid()::text);"; done | PGPASSWORD="$CORTEZA_DB_PASSWORD" psql --host corteza-db --username corteza --quiet --set ON_ERROR_STOP=1`
)

func (c *client) commit(ctx context.Context, container, script string, n int) error {
	_, err := inContainer(ctx, container, script, fmt.Sprint(n))
	return err
}

// cut takes a machine's databases off the network, until the test ends or undo is called. They run on.
func (m *machine) cut(t *testing.T) (undo func()) {
	t.Helper()
	var undos []func()
	for _, service := range []string{"databases", "peer"} {
		id, err := m.Container(t.Context(), service)
		if err != nil {
			t.Fatal(err)
		}
		undos = append(undos, dropPackets(t, id, 1))
	}
	return func() {
		for _, undo := range undos {
			undo()
		}
	}
}

// testCut takes the replica off the network, and then the primary, which runs on while the replica is promoted, and comes back.
func (tr *trio) testCut(t *testing.T, c *client) {
	env := filepath.Join(tr.first.dir, ".env")
	tr.expectNoAlert(t)
	t.Run("the replica", func(t *testing.T) {
		_, replica := tr.hosts(t)
		w := c.startWriter(t, "cut")
		defer w.stop(t, c)
		w.expectMore(t, "rows are written")
		undo := replica.cut(t)
		time.Sleep(15 * time.Second)
		tr.expectWaiting(t, w)
		undo()
		w.expectMore(t, "rows are written again")
		tr.eventuallyMode(t, replication.Synchronous)
		tr.expectNoAlert(t)
		w.stop(t, c)
		w.expectAll(t, c)
	})
	t.Run("the primary", func(t *testing.T) {
		primary, _ := tr.hosts(t)
		w := c.startWriter(t, "cut-primary")
		defer w.stop(t, c)
		w.expectMore(t, "rows are written")
		undo := primary.cut(t)
		tr.expectAlert(t, "PrimaryDown")
		appendLine(t, env, "DATABASES_DOCKER=unix:///nonexistent/docker.sock")
		t.Log(tr.first.edge(t, "replica", "promote", "--primary-is-off"))
		appendLine(t, env, "DATABASES_REPLICA_DOCKER=unix:///var/run/docker.sock")
		w.expectMore(t, "rows are written again")
		tr.expectNoWrites(t, primary, runningOn)
		undo()
		time.Sleep(15 * time.Second)
		tr.expectNoWrites(t, primary, runningOn) // it is on the network again
		w.expectMore(t, "rows are written by the new primary")
		w.stop(t, c)
		w.expectAll(t, c)
		t.Log(tr.first.edge(t, "replica", "rejoin"))
		tr.eventuallyMode(t, replication.Synchronous)
		tr.expectNoOldRows(t, primary)
	})
}
