package backup

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/theworklabs/edge/internal/lowpriority"
	"github.com/theworklabs/edge/tests/harness"
)

// TestLargeData measures backup, restore, drill and a new host with large data that is the same in each run, and what requests and transactions
// notice of it. It is `make backup-bench`, and takes about an hour with 4 GB: half of it MariaDB with 20 tenants, three eighths PostgreSQL, and
// the rest files.
func TestLargeData(t *testing.T) {
	gigabytes, err := strconv.ParseFloat(os.Getenv("EDGE_TEST_GIGABYTES"), 64)
	if err != nil {
		t.Skip("EDGE_TEST_GIGABYTES says how much; make backup-bench runs it with 4")
	}
	t.Setenv(lowpriority.Variable, "10")
	setDefaultRate(t)
	rounds := 0
	if os.Getenv("EDGE_TEST_ROUNDS") != "0" { // which measures nothing but the times
		rounds = harness.Count(t, "EDGE_TEST_ROUNDS", 5)
	}
	start := time.Now()
	stack.fillLarge(t, gigabytes)
	t.Logf("filled in %.0f s", time.Since(start).Seconds())

	report := func(name string, took time.Duration, out string) {
		t.Logf("%s: %.1f s, %.1f s/GB\n%s", name, took.Seconds(), took.Seconds()/gigabytes, out)
	}
	timed := func(name string, args ...string) {
		start := time.Now()
		out := stack.mustEdge(t, args...)
		report(name, time.Since(start), out)
	}
	timed("first backup", "backup")
	timed("second backup", "backup")
	before := stack.counts(t)
	timed("restore", "restore", "latest", "bigcapital", "corteza")
	if got := stack.counts(t); got != before {
		t.Errorf("restored:\n%s\nwant\n%s", got, before)
	}
	timed("drill", "drill", "latest")
	timed("drill from dumps", "drill", "latest", "--logical")

	stack.measureWhile(t, rounds, "backup", "backup")
	stack.measureWhile(t, rounds, "drill", "drill", "latest")

	stack.mustEdge(t, "backup")
	if err := stack.project.Down(t.Context()); err != nil {
		t.Fatal(err)
	}
	stack.dir = filepath.Join(filepath.Dir(stack.dir), "new-host")
	stack.project.Files = []string{filepath.Join(stack.dir, "compose.yaml")}
	if err := os.MkdirAll(stack.dir, 0o755); err != nil {
		t.Fatal(err)
	}
	path, err := harness.EdgeBinary()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), path, "restore", "latest", "--new-host", "--repository", stack.repository, "--queues")
	cmd.Dir, cmd.Env = stack.dir, append(os.Environ(), "EDGE_BACKUP_PASSWORD="+stack.recovery)
	start = time.Now()
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	report("new host", time.Since(start), string(out))
	if got := stack.counts(t); rounds == 0 && got != before {
		t.Errorf("on the new host:\n%s\nwant\n%s", got, before)
	}
}

// maxSteal is the share of the processors' time that the host of a virtual machine may take in a round: what others do there is not what is measured.
const maxSteal = 0.02

// readProcessorTime returns the time of all processors since the start of the machine, and what of it the host has taken.
func readProcessorTime(t *testing.T) (total, stolen float64) {
	t.Helper()
	text, err := os.ReadFile("/proc/stat")
	if err != nil {
		t.Fatal(err)
	}
	line, _, _ := strings.Cut(string(text), "\n")
	for i, field := range strings.Fields(line)[1:9] { // user, nice, system, idle, iowait, irq, softirq, steal
		n, err := strconv.ParseFloat(field, 64)
		if err != nil {
			t.Fatal(err)
		}
		total += n
		if i == 7 {
			stolen = n
		}
	}
	return total, stolen
}

// measureWhile measures the load while a command runs, and without it, in turn. It leaves out rounds in which the host took too much: at most half of them, so that there may be fewer than
// wanted. No rounds measure nothing.
func (s *testStack) measureWhile(t *testing.T, rounds int, name string, command ...string) {
	t.Helper()
	harness.WeighContainersAsSystemd(t)
	var quiet, busy [3][]time.Duration
	for tries := 0; len(quiet[0]) < rounds && tries < 2*rounds; tries++ {
		total, stolen := readProcessorTime(t)
		start := time.Now()
		stop := s.measureLoad(t)
		s.mustEdge(t, command...)
		took := time.Since(start)
		during := stop()
		stop = s.measureLoad(t)
		time.Sleep(min(took, time.Minute))
		without := stop()
		totalAfter, stolenAfter := readProcessorTime(t)
		steal := (stolenAfter - stolen) / (totalAfter - total)
		t.Logf("p99 of requests and of transactions of MariaDB and PostgreSQL: quiet %v, during %s %v; the host took %.1f %%", without, name, during, 100*steal)
		if steal > maxSteal {
			continue
		}
		for i := range quiet {
			quiet[i], busy[i] = append(quiet[i], without[i]), append(busy[i], during[i])
		}
	}
	for i, what := range []string{"requests through the edge", "MariaDB transactions", "PostgreSQL transactions"} {
		if n := len(quiet[i]); n > 0 {
			q, b := median(quiet[i]), median(busy[i])
			t.Logf("p99 of %s, median of %d: quiet %v, during %s %v: %.2f times", what, n, q.Round(10*time.Microsecond), name, b.Round(10*time.Microsecond), float64(b)/float64(q))
		}
	}
}

// TestCostOfLogs measures what the options of compose.yaml cost that make logs, in transactions a second, and what storing the logs each minute costs
// while 100 transactions a second are written to each database. It is part of `make backup-bench`, and takes about six minutes.
func TestCostOfLogs(t *testing.T) {
	if os.Getenv("EDGE_TEST_GIGABYTES") == "" {
		t.Skip("make backup-bench runs it")
	}
	for _, c := range []struct {
		name, image     string
		env             []string
		without, with   []string
		ready, run, sql string
	}{
		{
			"MariaDB's --log-bin", "edge-test/mariadb:test",
			[]string{"MARIADB_ROOT_PASSWORD=secret", "MARIADB_DATABASE=t"},
			[]string{"mariadbd"},
			[]string{"mariadbd", "--log-bin=binlog", "--server-id=1"},
			"mariadb-admin ping --silent -h 127.0.0.1 -psecret", "mariadb -uroot -psecret t",
			"INSERT INTO t (a, b) VALUES (%d, 'a row of some length, as an entry of a ledger has');\n",
		},
		{
			"PostgreSQL's wal_level=logical", "edge-test/postgres:test",
			[]string{"POSTGRES_PASSWORD=secret"},
			[]string{"postgres"},
			[]string{"postgres", "-c", "wal_level=logical", "-c", "wal_keep_size=1GB"},
			"pg_isready -q -h 127.0.0.1", "psql -q -U postgres",
			"INSERT INTO t (a, b) VALUES (%d, 'a row of some length, as an entry of a ledger has');\n",
		},
	} {
		var containers [2]string
		for i, command := range [][]string{c.without, c.with} {
			args := []string{"run", "--detach", "--rm"}
			for _, e := range c.env {
				args = append(args, "--env", e)
			}
			containers[i] = strings.TrimSpace(harness.MustDocker(t, append(append(args, c.image), command...)...))
			t.Cleanup(func() { harness.MustDocker(t, "rm", "--force", "--volumes", containers[i]) })
			harness.Eventually(t, "the database is ready", func() bool {
				_, err := harness.RunDocker(t.Context(), "exec", containers[i], "sh", "-c", c.ready)
				return err == nil
			})
		}
		const rows, rounds = 10000, 7
		var ratios []float64
		for round := range rounds {
			var took [2]time.Duration
			for _, i := range [][]int{{0, 1}, {1, 0}}[round%2] {
				var sql strings.Builder
				sql.WriteString("DROP TABLE IF EXISTS t; CREATE TABLE t (a INT PRIMARY KEY, b TEXT);\n")
				for n := range rows {
					fmt.Fprintf(&sql, c.sql, n)
				}
				cmd := exec.CommandContext(t.Context(), "docker", "exec", "-i", containers[i], "sh", "-c", c.run)
				cmd.Stdin = strings.NewReader(sql.String())
				start := time.Now()
				if out, err := cmd.CombinedOutput(); err != nil {
					t.Fatalf("%v: %s", err, out)
				}
				took[i] = time.Since(start)
			}
			t.Logf("%s: %d transactions a second without, %d with", c.name, int(rows/took[0].Seconds()), int(rows/took[1].Seconds()))
			ratios = append(ratios, took[1].Seconds()/took[0].Seconds())
		}
		slices.Sort(ratios)
		t.Logf("%s: transactions take %.2f times as long, median of %d (%.2f to %.2f)", c.name, ratios[rounds/2], rounds, ratios[0], ratios[rounds-1])
	}

	stack.mustEdge(t, "backup", "bigcapital", "corteza")
	stop := stack.writeAll(t)
	defer stop()
	var took, cpu []time.Duration
	for range 3 {
		next := time.Now().Add(time.Minute)
		start := time.Now()
		cmd := stack.command(t.Context(), "backup", "logs")
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Fatalf("%v: %s", err, out)
		}
		took, cpu = append(took, time.Since(start)), append(cpu, cmd.ProcessState.UserTime()+cmd.ProcessState.SystemTime())
		t.Logf("edge backup logs: %.1f s, of it %.1f s of processor time on the host: %s", took[len(took)-1].Seconds(), cpu[len(cpu)-1].Seconds(), lastLine(string(out)))
		time.Sleep(time.Until(next))
	}
	t.Logf("edge backup logs each minute: %.1f s, of it %.1f s of processor time on the host", median(took).Seconds(), median(cpu).Seconds())
}

func median(all []time.Duration) time.Duration {
	slices.Sort(all)
	return all[len(all)/2]
}

const largeTenants = 20

// fillLarge writes data that depends on nothing but its size.
func (s *testStack) fillLarge(t *testing.T, gigabytes float64) {
	t.Helper()
	megabytes := gigabytes * 1000
	// A row of the ledger has about 230 bytes with its indexes, a record 300.
	rows := int(megabytes / 2 * 1e6 / 230 / largeTenants)
	for i := range largeTenants {
		schema := fmt.Sprintf("bigcapital_tenant_large_%d", i+1)
		if err := s.mariadb(t.Context(), fmt.Sprintf(`CREATE DATABASE %[1]s; USE %[1]s; SET foreign_key_checks = 0, unique_checks = 0;
CREATE TABLE ACCOUNTS (ID INT PRIMARY KEY, NAME VARCHAR(50));
INSERT INTO ACCOUNTS SELECT seq, CONCAT('account ', seq) FROM seq_1_to_200;
CREATE TABLE ACCOUNTS_TRANSACTIONS (ID INT PRIMARY KEY AUTO_INCREMENT, ACCOUNT_ID INT, CREDIT DECIMAL(13,3), DEBIT DECIMAL(13,3), REFERENCE_TYPE VARCHAR(40), REFERENCE_ID INT,
 NOTE VARCHAR(200), DATE DATE, CREATED_AT DATETIME, INDEX (REFERENCE_TYPE, REFERENCE_ID), INDEX (DATE), FOREIGN KEY (ACCOUNT_ID) REFERENCES ACCOUNTS (ID));
INSERT INTO ACCOUNTS_TRANSACTIONS (ACCOUNT_ID, CREDIT, DEBIT, REFERENCE_TYPE, REFERENCE_ID, NOTE, DATE, CREATED_AT)
 SELECT 1 + seq %% 200, seq %% 977, seq %% 977, 'SaleInvoice', seq, CONCAT(MD5(seq + %[3]d), MD5(seq * 7), MD5(seq * 13)), DATE_ADD('2020-01-01', INTERVAL seq %% 2000 DAY), '2026-01-01'
 FROM seq_1_to_%[2]d;
INSERT INTO bigcapital_system.TENANTS (ORGANIZATION_ID, BUILT_AT) VALUES ('large_%[3]d', NOW());`, schema, rows, i+1)); err != nil {
			t.Fatal(err)
		}
	}
	records := int(megabytes * 3 / 8 * 1e6 / 300)
	if err := s.psql(t.Context(), fmt.Sprintf(`INSERT INTO compose_record (module_id, value)
 SELECT 1, md5(i::text) || md5((i * 7)::text) || md5((i * 13)::text) || md5((i * 17)::text) || md5((i * 19)::text) || md5((i * 23)::text) FROM generate_series(1, %d) i;
CREATE INDEX ON compose_record (module_id); VACUUM ANALYZE compose_record;`, records)); err != nil {
		t.Fatal(err)
	}
	id, err := s.project.Container(t.Context(), "crm")
	if err != nil {
		t.Fatal(err)
	}
	seed := rand.NewChaCha8([32]byte{1})
	const fileSize = 5 << 20
	for i := range int(megabytes / 8 * 1e6 / fileSize) {
		cmd := exec.CommandContext(t.Context(), "docker", "exec", "-i", id, "sh", "-c", fmt.Sprintf("cat >/data/compose/large-%d", i))
		cmd.Stdin = io.LimitReader(seed, fileSize)
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
	}
}

// counts returns the number of rows and the sums of the large tables, and the size of the files.
func (s *testStack) counts(t *testing.T) string {
	t.Helper()
	var all []string
	for i := range largeTenants {
		all = append(all, s.query(t, "shop-db", fmt.Sprintf("SELECT COUNT(*), SUM(CREDIT), MAX(ID) FROM bigcapital_tenant_large_%d.ACCOUNTS_TRANSACTIONS", i+1)))
	}
	return strings.Join(append(all, s.query(t, "crm-db", "SELECT count(*), max(id) FROM compose_record"), s.project.MustCompose(t, "exec", "-T", "crm", "du", "-sb", "/data")), "\n")
}

// measureLoad sends 100 requests a second through the edge, and 20 transactions a second to each database, and returns their 99th percentiles. The times of the transactions have what the
// docker commands take that carry them.
func (s *testStack) measureLoad(t *testing.T) (stop func() [3]time.Duration) {
	t.Helper()
	addresses, err := s.project.Addresses(t.Context(), "edge", "default")
	if err != nil || len(addresses) != 1 {
		t.Fatalf("addresses of the edge: %v, %v", addresses, err)
	}
	runAsOthers := harness.RunFirst(t)
	ctx, cancel := context.WithCancel(t.Context())
	var times [3][]time.Duration
	var mu sync.Mutex
	add := func(i int, start time.Time) {
		mu.Lock()
		defer mu.Unlock()
		times[i] = append(times[i], time.Since(start))
	}
	var running sync.WaitGroup
	client := &http.Client{Timeout: 30 * time.Second}
	running.Go(func() {
		tick := time.NewTicker(10 * time.Millisecond)
		defer tick.Stop()
		for ctx.Err() == nil {
			start := <-tick.C
			running.Go(func() {
				resp, err := client.Get("http://" + addresses[0] + ":8081/")
				if err != nil {
					t.Errorf("a request was lost: %v", err)
					return
				}
				_, _ = io.Copy(io.Discard, resp.Body)
				_ = resp.Body.Close()
				if resp.StatusCode != http.StatusOK {
					t.Errorf("a request got %s", resp.Status)
				}
				add(0, start)
			})
		}
	})
	for i, d := range []struct {
		service string
		command []string
		sql     string
	}{
		{"shop-db", []string{"sh", "-c", `MYSQL_PWD="$MARIADB_ROOT_PASSWORD" exec mariadb --user=root --batch --skip-column-names --unbuffered`}, "INSERT INTO bigcapital_tenant_1.ACCOUNTS_TRANSACTIONS (ACCOUNT_ID, CREDIT) VALUES (1, 1); SELECT 1;\n"},
		{"crm-db", []string{"psql", "--quiet", "--username", "corteza", "--tuples-only", "--no-align"}, "INSERT INTO compose_record (module_id, value) VALUES (1, 'x'); SELECT 1;\n"},
	} {
		id, err := s.project.Container(ctx, d.service)
		if err != nil {
			t.Fatal(err)
		}
		cmd := exec.Command("docker", append([]string{"exec", "-i", id}, d.command...)...)
		input, inputErr := cmd.StdinPipe()
		output, outputErr := cmd.StdoutPipe()
		if inputErr != nil || outputErr != nil {
			t.Fatal(inputErr, outputErr)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		running.Go(func() {
			lines := bufio.NewScanner(output)
			tick := time.NewTicker(50 * time.Millisecond)
			defer tick.Stop()
			for ctx.Err() == nil {
				start := <-tick.C
				if _, err := io.WriteString(input, d.sql); err != nil || !lines.Scan() {
					t.Errorf("%s: the client has exited (%v)", d.service, err)
					break
				}
				add(1+i, start)
			}
			_ = input.Close()
			_ = cmd.Wait()
		})
	}
	return func() (p99 [3]time.Duration) {
		cancel()
		running.Wait()
		runAsOthers()
		for i, all := range times {
			if len(all) > 0 {
				slices.Sort(all)
				p99[i] = all[len(all)*99/100]
			}
		}
		return p99
	}
}
