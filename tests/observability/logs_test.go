package observability

import (
	"bufio"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/theworklabs/edge/tests/harness"
)

// search asks VictoriaLogs, and returns the lines that it has found.
func (s *observedStack) search(t *testing.T, query string) (found []map[string]string) {
	t.Helper()
	resp, err := http.PostForm(s.logs+"/select/logsql/query", url.Values{"query": {query}})
	if err != nil {
		return nil // it starts, or is stopped
	}
	defer resp.Body.Close()
	for lines := bufio.NewScanner(resp.Body); lines.Scan(); {
		var line map[string]string
		if err := json.Unmarshal(lines.Bytes(), &line); err != nil {
			t.Fatalf("%v: %s", err, lines.Bytes())
		}
		found = append(found, line)
	}
	return found
}

// findRequest sends a request with an ID, and returns its line, and how long it took until that was found.
func (s *observedStack) findRequest(t *testing.T, id string, limit time.Duration) (line map[string]string, took time.Duration) {
	t.Helper()
	start := time.Now()
	s.Get(t, site("docs")+"/?access_token=s3cr3t-s3cr3t&q=1", "X-Request-Id", id, "Authorization", "Bearer s3cr3t-s3cr3t", "Cookie", "sid=s3cr3t-s3cr3t", "X-Access-Token", "s3cr3t-s3cr3t")
	harness.EventuallyWithin(t, limit, "the request is found", func() bool {
		found := s.search(t, fmt.Sprintf(`http.request.id:=%q service.target.name:="corteza-docs:80" http.response.status_code:=200`, id))
		if len(found) == 1 {
			line = found[0]
		}
		return line != nil
	})
	return line, time.Since(start)
}

// TestARequestIsFoundWithinTwoSeconds by its ID, service and status, in the Elastic Common Schema, without its secrets.
func TestARequestIsFoundWithinTwoSeconds(t *testing.T) {
	stack.WaitReady(t, "corteza-docs:80", 1)
	stack.findRequest(t, "observed-0", time.Minute) // the shipper has begun
	line, took := stack.findRequest(t, "observed-1", 10*time.Second)
	if took > 2*time.Second {
		t.Errorf("it took %v", took)
	}
	t.Logf("found after %v", took)
	for field, want := range map[string]string{
		"_msg": "handled request", "ecs.version": "8.17.0", "service.name": "edge", "event.dataset": "edge.access", "event.outcome": "success",
		"http.request.method": "GET", "url.domain": "docs.localhost", "url.path": "/", "edge.attempts": "1", "log.level": "info",
		"container.labels.service": "edge", "container.labels.project": stack.Name, "log.iostream": "stderr",
	} {
		if line[field] != want {
			t.Errorf("%s is %q, want %q", field, line[field], want)
		}
	}
	if len(line["container.id"]) != 64 || line["destination.address"] == "" || line["event.duration"] == "" || line["client.ip"] == "" {
		t.Errorf("the line is %v", line)
	}
	harness.Eventually(t, "Prometheus knows that lines are stored", func() bool {
		found, err := stack.query(t.Context(), `sum(vl_rows_ingested_total) > 0`, time.Time{})
		return err == nil && len(found) == 1
	})
	if found := stack.search(t, `"s3cr3t-s3cr3t"`); len(found) > 0 {
		t.Errorf("a secret is in %v", found)
	}
	harness.Eventually(t, "the database's lines are found", func() bool {
		return len(stack.search(t, `container.labels.service:="corteza-db" | limit 1`)) == 1
	})
}

// TestLogsWaitForTheirStore: while it is down, requests are answered as fast as before, and no line is missing afterwards. (If the shipper is restarted meanwhile,
// the line that it tries to write is lost: in 5 of 7 tries.)
func TestLogsWaitForTheirStore(t *testing.T) {
	stack.WaitReady(t, "corteza-docs:80", 1)
	stack.findRequest(t, "before", time.Minute)
	stack.MustCompose(t, "stop", "victorialogs")
	const n = 200
	start := time.Now()
	for i := range n {
		if answer := stack.Get(t, site("docs")+"/", "X-Request-Id", fmt.Sprintf("down-%d", i)); answer.Status != http.StatusOK {
			t.Fatalf("got %d while the store of logs is down", answer.Status)
		}
	}
	t.Logf("%d requests took %v while the store was down", n, time.Since(start))
	// What the runbook of LogsNotStored looks at, and does.
	harness.EventuallyWithin(t, 30*time.Second, "the shipper says why it cannot write", func() bool {
		out := stack.MustCompose(t, "logs", "--since", "30m", "log-shipper")
		return strings.Contains(out, "omelasticsearch") && strings.Contains(out, "victorialogs")
	})
	if out := stack.MustCompose(t, "ps", "--all", "log-shipper", "victorialogs"); !strings.Contains(out, "Exited") {
		t.Errorf("the store seems to run:\n%s", out)
	}
	stack.MustCompose(t, "up", "--detach", "log-shipper", "victorialogs")
	var found map[string]int
	err := harness.EventuallyContext(t.Context(), time.Minute, "all lines are there", func() bool {
		found = make(map[string]int)
		for _, line := range stack.search(t, `http.request.id:"down-"* | fields http.request.id`) {
			found[line["http.request.id"]]++
		}
		return len(found) == n
	})
	if err != nil {
		t.Errorf("%v: %d of %d", err, len(found), n)
		for i := range n {
			if id := fmt.Sprintf("down-%d", i); found[id] == 0 {
				t.Errorf("%s is missing", id)
			}
		}
	}
	again := 0
	for _, times := range found {
		again += times - 1
	}
	t.Logf("%d lines came again", again)
}
