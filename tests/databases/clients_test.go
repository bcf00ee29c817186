package databases

import (
	"bufio"
	"context"
	"fmt"
	"maps"
	"net/http"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/theworklabs/edge/tests/harness"
)

// writer inserts numbers through the names of the applications, and keeps those that were acknowledged, and the errors.
type writer struct {
	name string

	mu           sync.Mutex
	acknowledged [2][]string // by database: MariaDB, PostgreSQL
	errors       [2]map[string]int
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

// writeScript inserts numbers by $WRITE until there is a file of its name, and prints each that was acknowledged, or the first line of an error after a `!`.
const writeScript = `i=0
while [ ! -e "/tmp/$0" ]; do
	i=$((i + 1)); number=$0-$i
	if out=$(eval "$WRITE" 2>&1); then echo "$number"; else status=$?; echo "! $(printf %s "$out" | head -n 1) (status $status)"; fi
	sleep "$PAUSE"
done`

var writeCommands = [2]string{
	`MYSQL_PWD="$BIGCAPITAL_DB_PASSWORD" timeout 60 mariadb --host bigcapital-mysql --user bigcapital --connect-timeout 2 --execute "INSERT INTO bigcapital_system.numbers VALUES ('$number')"`,
	`PGCONNECT_TIMEOUT=2 PGPASSWORD="$CORTEZA_DB_PASSWORD" timeout 60 psql --host corteza-db --username corteza --quiet --command "INSERT INTO numbers VALUES ('$number')"`,
}

func (c *client) startWriter(t *testing.T, name string) *writer {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	w := &writer{name: name, cancel: cancel, errors: [2]map[string]int{{}, {}}}
	for i, container := range []string{c.mariadb, c.postgres} {
		cmd := exec.CommandContext(ctx, "docker", "exec", "--env", "PAUSE="+fmt.Sprint(writePause().Seconds()), "--env", "WRITE="+writeCommands[i], container, "bash", "-c", writeScript, name)
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
				w.note(i, lines.Text())
			}
			_ = cmd.Wait()
		})
	}
	return w
}

// note notes a line of what writes to a database.
func (w *writer) note(database int, line string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if text, isError := strings.CutPrefix(line, "! "); isError {
		w.errors[database][text]++
		return
	}
	now := time.Now()
	w.acknowledged[database] = append(w.acknowledged[database], line)
	w.longest[database] = max(w.longest[database], now.Sub(w.last[database]))
	w.last[database] = now
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
		if out, err := inContainer(context.WithoutCancel(t.Context()), container, `touch "/tmp/$0"`, w.name); err != nil {
			t.Errorf("the writer %s goes on: %s, %v", w.name, out, err)
		}
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
		for _, text := range slices.Sorted(maps.Keys(w.errors[i])) {
			t.Logf("%s: what the application saw, %d times: %s", table, w.errors[i][text], text)
		}
	}
}

// expectMore waits until more rows are acknowledged.
func (w *writer) expectMore(t *testing.T, what string) {
	t.Helper()
	n := w.count()
	harness.EventuallyWithin(t, time.Minute, what, func() bool { now := w.count(); return now[0] > n[0]+3 && now[1] > n[1]+3 })
}

// visitor opens a page of the CRM again and again.
type visitor struct {
	cancel  context.CancelFunc
	running sync.WaitGroup
	seen    map[string]int // what it saw
}

const (
	pageOfApplication = "the application's page"
	pageOfMaintenance = "the maintenance page"
)

func (tr *trio) startVisitor(t *testing.T) *visitor {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	v := &visitor{cancel: cancel, seen: make(map[string]int)}
	client := tr.first.Client(true, nil)
	client.Timeout = 10 * time.Second
	v.running.Go(func() {
		for ctx.Err() == nil {
			what := ""
			switch resp, err := harness.Do(client, http.MethodGet, "https://crm.localhost/", nil); {
			case err != nil:
				what = err.Error()
			case resp.Status == http.StatusOK:
				what = pageOfApplication
			case resp.Status == http.StatusServiceUnavailable && strings.Contains(resp.Body, "The databases of this application are being moved."):
				what = pageOfMaintenance
			default:
				what = fmt.Sprintf("%d: %.300s", resp.Status, resp.Body)
			}
			v.seen[what]++
			select {
			case <-ctx.Done():
			case <-time.After(200 * time.Millisecond):
			}
		}
	})
	return v
}

// stop ends the visits, and fails the test if something else was seen than the application and, at times, the maintenance page.
func (v *visitor) stop(t *testing.T) {
	t.Helper()
	v.cancel()
	v.running.Wait()
	t.Logf("a visitor saw %v", v.seen)
	if len(v.seen) != 2 || v.seen[pageOfApplication] == 0 || v.seen[pageOfMaintenance] == 0 {
		t.Errorf("a visitor saw something else than the application and the maintenance page")
	}
}
