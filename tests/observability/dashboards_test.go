package observability

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/coder/websocket"

	"github.com/theworklabs/edge/internal/recovery"
	"github.com/theworklabs/edge/tests/harness"
)

// expressions returns the queries of a dashboard, with the place of each.
func expressions(t *testing.T, file string) map[string]string {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var board struct {
		Panels []struct {
			Title   string `json:"title"`
			Targets []struct {
				Expr string `json:"expr"`
			} `json:"targets"`
		} `json:"panels"`
		Annotations struct {
			List []struct{ Name, Expr string } `json:"list"`
		} `json:"annotations"`
	}
	if err := json.Unmarshal(text, &board); err != nil {
		t.Fatal(err)
	}
	found := make(map[string]string)
	for n, p := range board.Panels { // titles are not unique
		for i, target := range p.Targets {
			found[fmt.Sprintf("panel %d, %s, query %d", n+1, p.Title, i+1)] = target.Expr
		}
	}
	for _, a := range board.Annotations.List {
		if a.Expr != "" { // Grafana's own has none
			found["mark "+a.Name] = a.Expr
		}
	}
	return found
}

// TestEveryQueryOfTheDashboardsHasData after containers were replaced, a maintenance, a reload, WebSockets, backups and a certificate that can't be had.
func TestEveryQueryOfTheDashboardsHasData(t *testing.T) {
	churn(t)
	files, err := filepath.Glob(harness.Root() + "/observability/grafana/dashboards/*.json")
	if err != nil || len(files) != 6 {
		t.Fatalf("found %v, %v", files, err)
	}
	queries := 0
	for _, file := range files {
		for place, expr := range expressions(t, file) {
			queries++
			expr = strings.NewReplacer("$__rate_interval", "10s", "$service", ".*", " or vector(0)", "").Replace(expr)
			what := fmt.Sprintf("%s: %s: %s", filepath.Base(file), place, expr)
			err := harness.EventuallyContext(t.Context(), 20*time.Second, what, func() bool {
				found, err := stack.query(t.Context(), expr, stack.startedAt)
				return err == nil && hasNumber(found)
			})
			if err != nil {
				_, queryErr := stack.query(t.Context(), expr, stack.startedAt)
				t.Errorf("no data: %s %v", what, queryErr)
			}
		}
	}
	t.Logf("%d queries of %d dashboards", queries, len(files))
}

// hasNumber reports whether a result has a value that is a number.
func hasNumber(found []series) bool {
	for _, s := range found {
		for _, point := range s.Values {
			if text, _ := point[1].(string); text != "NaN" && text != "" {
				return true
			}
		}
	}
	return false
}

// churn sends requests while what an operator does happens.
func churn(t *testing.T) {
	t.Helper()
	stack.WaitReady(t, "bigcapital-server:3000", 1)
	stack.WaitReady(t, "corteza-server:80", 1)
	ctx, cancel := context.WithCancel(t.Context())
	var loads sync.WaitGroup
	for _, address := range []string{site("docs"), site("accounting") + "/api/echo", site("crm")} {
		loads.Go(func() {
			client := stack.Client(true, nil)
			for ctx.Err() == nil {
				_, _ = harness.Do(client, http.MethodGet, address, nil) // what is lost is not this test's
				time.Sleep(50 * time.Millisecond)
			}
		})
	}
	defer loads.Wait()
	defer cancel()
	conn, _, err := websocket.Dial(ctx, "wss://crm.localhost/api/websocket", &websocket.DialOptions{HTTPClient: stack.Client(false, nil)})
	if err != nil {
		t.Fatal(err)
	}
	defer conn.CloseNow()
	if err := conn.Write(ctx, websocket.MessageText, []byte("hello")); err != nil {
		t.Fatal(err)
	}

	now := time.Now()
	report, err := json.Marshal(recovery.Report{
		Project: stack.Name, Time: now, MaxAgeSeconds: 86400, DrillIntervalSeconds: 7 * 86400,
		Backups:          []recovery.Backup{{App: "corteza", Set: "a", RecoveryPoint: now.Add(-time.Minute), Seconds: 12, Size: 1e6, Added: 1e5}},
		MaxLogAgeSeconds: 300, Logs: []recovery.LogInfo{{App: "corteza", Until: now}}, Copy: &recovery.CopyOutcome{}, LogsCopy: &recovery.CopyOutcome{},
		Drill: &recovery.DrillOutcome{Sets: map[string]string{"corteza": "a"}, RecoverySeconds: 90, StepSeconds: map[string]float64{"stage": 60, "check": 30}},
	})
	if err != nil {
		t.Fatal(err)
	}
	stack.edge(t, string(report), "backup", "report")
	stack.edge(t, "", "deploy", "--notify-edge", `{"project": "`+stack.Name+`", "service": "corteza-docs", "image": "docs:2", "result": "deployed"}`)
	stack.edge(t, "", "maintenance", "on", "bigcapital-webapp")
	for n := range 2 { // a series begins with the first request that waits, and has a rate from the second on, if Prometheus has seen it between the two
		stack.MustCompose(t, "up", "--detach", "--no-deps", "--force-recreate", "corteza-docs")
		stack.WaitReady(t, "corteza-docs:80", 1)
		expr := fmt.Sprintf(`edge_request_wait_seconds_count{service="corteza-docs:80",phase="held"} > %d`, n)
		harness.EventuallyWithin(t, 20*time.Second, "Prometheus has seen a request that waited", func() bool {
			found, err := stack.query(ctx, expr, time.Time{})
			return err == nil && len(found) == 1
		})
	}
	shipped, err := os.ReadFile(harness.Root() + "/Caddyfile")
	if err != nil {
		t.Fatal(err)
	}
	// Nothing listens there, so that this certificate can't be had.
	stack.edge(t, string(shipped)+"\nno.example {\n\ttls {\n\t\tissuer acme {\n\t\t\tdir https://127.0.0.1:1/directory\n\t\t}\n\t}\n}\n",
		"reload", "--adapter", "caddyfile", "--config", "-")
	stack.WaitReady(t, "corteza-docs:80", 1)
	stack.edge(t, "", "maintenance", "off")
}
