package observability

import (
	"context"
	"encoding/base64"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/theworklabs/edge/tests/harness"
)

// firing returns the alerts of a service that Alertmanager has, with the times at which they began to fire.
func (s *observedStack) firing(ctx context.Context, service string) map[string]time.Time {
	var alerts []struct {
		Labels   map[string]string `json:"labels"`
		StartsAt time.Time         `json:"startsAt"`
	}
	if err := get(ctx, s.alertmanager+"/api/v2/alerts", url.Values{"active": {"true"}, "inhibited": {"false"}}, &alerts); err != nil {
		return nil
	}
	names := make(map[string]time.Time)
	for _, a := range alerts {
		if a.Labels["service"] == service {
			names[a.Labels["alertname"]] = a.StartsAt
		}
	}
	return names
}

// TestADeadServiceAlerts: Alertmanager has NoReadyEndpoint a minute and a half after the last container of a service has ended, and not in a maintenance.
func TestADeadServiceAlerts(t *testing.T) {
	const service = "bigcapital-webapp:80"
	stack.WaitReady(t, service, 1)
	stack.edge(t, "", "maintenance", "on", "bigcapital-webapp")
	stack.MustCompose(t, "kill", "bigcapital-webapp")
	stop := time.Now()
	for time.Since(stop) < 80*time.Second {
		if alerts := stack.firing(t.Context(), service); len(alerts) > 0 {
			t.Fatalf("in a maintenance, %v fire", alerts)
		}
		time.Sleep(5 * time.Second)
	}
	stack.edge(t, "", "maintenance", "off")
	end := time.Now()
	harness.EventuallyWithin(t, 2*time.Minute, "NoReadyEndpoint fires", func() bool {
		return !stack.firing(t.Context(), service)["NoReadyEndpoint"].IsZero()
	})
	t.Logf("NoReadyEndpoint was there %v after the end of the maintenance", time.Since(end).Round(time.Second))
	stack.MustCompose(t, "up", "--detach", "bigcapital-webapp")
	stack.WaitReady(t, service, 1)
}

// TestMessagesReachTheirReceiver, and the alert NotificationsFailed has a value if they don't.
func TestMessagesReachTheirReceiver(t *testing.T) {
	alert := func(name string) {
		t.Helper()
		text := fmt.Sprintf(`[{"labels": {"alertname": %q, "severity": "ticket"}}]`, name)
		resp, err := http.Post(stack.alertmanager+"/api/v2/alerts", "application/json", strings.NewReader(text))
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if resp.StatusCode != http.StatusOK {
			t.Fatalf("Alertmanager says %s", resp.Status)
		}
	}
	calls := func() int {
		out, _ := stack.Compose(t.Context(), "logs", "--no-log-prefix", "receiver") // again, if it fails
		return strings.Count(out, "POST /api/echo 200")
	}
	before := calls()
	alert("Test")
	harness.EventuallyWithin(t, 30*time.Second, "the receiver gets a message", func() bool { return calls() > before })
	stack.MustCompose(t, "stop", "receiver")
	defer stack.MustCompose(t, "up", "--detach", "receiver")
	alert("TestAgain")
	harness.EventuallyWithin(t, time.Minute, "NotificationsFailed has a value", func() bool {
		found, err := stack.query(t.Context(), `sum by (integration) (increase(alertmanager_notifications_failed_total[15m])) > 0`, time.Time{})
		return err == nil && len(found) == 1
	})
	if out := strings.ToLower(stack.MustCompose(t, "logs", "--since", "30m", "alertmanager")); !strings.Contains(out, "notify") || !strings.Contains(out, "receiver") {
		t.Errorf("Alertmanager's log has nothing of what the runbook looks for:\n%.2000s", out)
	}
}

// TestALostEngineAlerts: while the edge does not hear from the Docker Engine, the alert DiscoveryBlind has a value.
func TestALostEngineAlerts(t *testing.T) {
	eventually := func(isConnected string) {
		t.Helper()
		harness.EventuallyWithin(t, 30*time.Second, "edge_source_connected of the Engine is "+isConnected, func() bool {
			found, err := stack.query(t.Context(), `min by (source) (edge_source_connected{source="engine"}) == `+isConnected, time.Time{})
			return err == nil && len(found) == 1
		})
	}
	eventually("1")
	stack.MustCompose(t, "stop", "docker-guard")
	defer stack.MustCompose(t, "up", "--detach", "--wait", "docker-guard")
	eventually("0")
	stack.MustCompose(t, "start", "docker-guard")
	eventually("1")
}

// TestAnIncident plays one, with the shipped alerts: an application that becomes slow, then dies, then gets a bad version, and then an edge that has no descriptors
// left. It takes 25 minutes, because what is slow is measured against the day before: make incident. EDGE_TEST_PICTURES is where the screenshots go.
func TestAnIncident(t *testing.T) {
	if os.Getenv("EDGE_TEST_INCIDENT") == "" {
		t.Skip("25 minutes: make incident")
	}
	const service = "corteza-docs:80"
	stack.WaitReady(t, service, 1)
	ctx, cancel := context.WithCancel(t.Context())
	var loads sync.WaitGroup
	defer loads.Wait()
	defer cancel()
	var mu sync.Mutex
	method, path := http.MethodGet, "/_test/echo"
	request := func() (string, string) {
		mu.Lock()
		defer mu.Unlock()
		return method, path
	}
	set := func(m, p string) {
		mu.Lock()
		defer mu.Unlock()
		method, path = m, p
	}
	for range 10 {
		loads.Go(func() {
			client := stack.Client(true, nil)
			for ctx.Err() == nil {
				method, path := request()
				_, _ = harness.Do(client, method, site("docs")+path, nil) // its figures are what is looked at
				time.Sleep(500 * time.Millisecond)
			}
		})
	}
	begin := time.Now()
	say := func(format string, args ...any) {
		t.Logf("%6s  %s", time.Since(begin).Round(time.Second), fmt.Sprintf(format, args...))
	}
	// wait waits until an alert of the service fires, then returns what tells the cases from each other.
	wait := func(step, alert string, limit time.Duration) map[string]float64 {
		t.Helper()
		start := time.Now()
		harness.EventuallyWithin(t, limit, step+": "+alert+" fires", func() bool { return stack.firing(t.Context(), service)[alert].After(begin) })
		say("%s: %s fires %v after the beginning", step, alert, time.Since(start).Round(time.Second))
		figures := make(map[string]float64)
		for what, expr := range map[string]string{
			"p95":                   `histogram_quantile(0.95, sum by (le) (rate(edge_request_duration_seconds_bucket{service="corteza-docs:80"}[1m])))`,
			"first_byte p95":        `histogram_quantile(0.95, sum by (le) (rate(edge_request_wait_seconds_bucket{service="corteza-docs:80",phase="first_byte"}[1m])))`,
			"application's errors":  `sum(rate(edge_requests_total{service="corteza-docs:80",code_class="5xx"}[1m])) - sum(rate(edge_requests_lost_total{service="corteza-docs:80",outcome!="incomplete"}[1m]))`,
			"refused by the edge":   `sum(rate(edge_requests_lost_total{service="corteza-docs:80",outcome="refused"}[1m]))`,
			"requests that wait":    `sum(edge_requests_held{service="corteza-docs:80"})`,
			"containers, ready":     `sum(edge_endpoints{service="corteza-docs:80",state="ready"})`,
			"containers that began": `sum(increase(edge_drains_total{service="corteza-docs:80"}[5m]))`,
		} {
			found, err := stack.query(t.Context(), expr, time.Time{})
			if err != nil || len(found) == 0 {
				t.Errorf("%s: %v", what, err)
				continue
			}
			say("    %-22s %.5v", what, found[0].Value[1])
			text, _ := found[0].Value[1].(string)
			if figures[what], err = strconv.ParseFloat(text, 64); err != nil {
				t.Errorf("%s: %v", what, err)
			}
		}
		return figures
	}
	// page fails unless a sentence of the status page has all the parts.
	page := func(step string, parts ...string) {
		t.Helper()
		said := shoot(t, step)
		for _, line := range said {
			say("    the page: %s", line)
		}
		if !slices.ContainsFunc(said, func(line string) bool {
			return !slices.ContainsFunc(parts, func(part string) bool { return !strings.Contains(line, part) })
		}) {
			t.Errorf("%s: the page does not say %q", step, parts)
		}
	}
	// only fails if Alertmanager has a message about the service, or about the edge, that belongs to another case. What it inhibits, since it follows from something else, is no message.
	only := func(step string, alerts ...string) {
		t.Helper()
		for _, of := range []string{service, ""} {
			for alert := range stack.firing(t.Context(), of) {
				if !slices.Contains(alerts, alert) && !slices.Contains(unrelated, alert) {
					t.Errorf("%s: %s fires", step, alert)
				}
			}
		}
		firing, err := stack.Alerts(t.Context(), `alertstate="firing"`)
		if err != nil {
			t.Error(err)
		}
		for _, a := range firing {
			say("    Prometheus: %s %s", a["alertname"], a["service"])
		}
	}

	say("quiet")
	time.Sleep(11 * time.Minute)
	page("quiet", "All ")
	set(http.MethodGet, "/_test/slow?d=3s")
	if f := wait("slow", "ServiceSlow", 5*time.Minute); f["first_byte p95"] < 1 || f["application's errors"] > 0.1 || f["refused by the edge"] > 0.1 || f["containers, ready"] != 1 {
		t.Errorf("what is slow looks like %v", f)
	}
	page("slow", service+": the application is slow: p95 ")
	only("slow", "ServiceSlow")
	stack.MustCompose(t, "kill", "corteza-docs")
	if f := wait("dead", "NoReadyEndpoint", 4*time.Minute); f["containers, ready"] != 0 || f["application's errors"] > 0.1 {
		t.Errorf("what is dead looks like %v", f)
	}
	page("dead", service+": down for ")
	only("dead", "NoReadyEndpoint", "ServiceSlow", "RequestsLost") // the second looks back for ten minutes; the last is what the container had begun
	set(http.MethodGet, "/_test/echo")
	stack.MustCompose(t, "up", "--detach", "corteza-docs")
	stack.WaitReady(t, service, 1)
	harness.EventuallyWithin(t, 12*time.Minute, "the alerts end, and no request was lost for two minutes", func() bool {
		found, err := stack.query(t.Context(), `sum(increase(edge_requests_lost_total{service="corteza-docs:80"}[2m])) == 0`, time.Time{})
		now := stack.firing(t.Context(), service)
		return err == nil && len(found) > 0 && now["NoReadyEndpoint"].IsZero() && now["RequestsRefused"].IsZero() && now["ErrorBudgetFast"].IsZero() // the slow one looks back for longer
	})
	say("repaired")
	stack.Setenv("TEST_FAIL_STATUS", "500")
	stack.MustCompose(t, "up", "--detach", "corteza-docs")
	harness.EventuallyWithin(t, 3*time.Minute, "the application answers with errors", func() bool {
		found, err := stack.query(t.Context(), `sum(rate(edge_requests_total{service="corteza-docs:80",code_class="5xx"}[1m])) - sum(rate(edge_requests_lost_total{service="corteza-docs:80",outcome!="incomplete"}[1m])) > 3`, time.Time{})
		return err == nil && len(found) > 0
	})
	if f := wait("bad-deploy", "ErrorBudgetFast", 10*time.Minute); f["application's errors"] < 1 || f["refused by the edge"] > 0.1 || f["containers, ready"] != 1 {
		t.Errorf("a bad version looks like %v", f)
	}
	page("bad-deploy", service+": the application answers ", " % with errors, since a deploy ")
	only("bad-deploy", "ErrorBudgetFast", "ErrorBudgetSlow", "ServiceSlow")
	stack.Setenv("TEST_FAIL_STATUS", "")
	stack.MustCompose(t, "up", "--detach", "corteza-docs")
	stack.WaitReady(t, service, 1)

	restore := stack.exhaustDescriptors(t)
	exhausted := time.Now()
	set(http.MethodPost, "/_test/echo") // each needs a new connection
	harness.EventuallyWithin(t, time.Minute, "EdgeExhausted fires", func() bool { return stack.firing(t.Context(), "")["EdgeExhausted"].After(exhausted) })
	say("edge: EdgeExhausted fires %v after the beginning", time.Since(exhausted).Round(time.Second))
	restore() // without descriptors, nobody can open a page
	page("edge", "the edge has run out of descriptors")
	only("edge", "EdgeExhausted", "ErrorBudgetFast", "ErrorBudgetSlow", "ServiceSlow", "RequestsLost") // the application's errors were a minute ago
}

// unrelated are alerts of this machine, and of what other tests have done.
var unrelated = []string{"ClockWrong", "DiskAlmostFull", "NotificationsFailed", "Test", "TestAgain"}

// edgeUser is the user as which the edge runs.
const edgeUser = "1000"

// exhaustDescriptors has the edge get no more descriptors.
func (s *observedStack) exhaustDescriptors(t *testing.T) (restore func()) {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), "docker", "inspect", "--format", "{{.State.Pid}}", s.Name+"-edge-1").Output()
	if err != nil {
		t.Fatal(err)
	}
	pid, err := strconv.Atoi(strings.TrimSpace(string(out)))
	if err != nil {
		t.Fatal(err)
	}
	limit := func(descriptors string) {
		t.Helper()
		// As its user: to change the limits of others' processes takes a right that root does not have everywhere.
		args := []string{"--reuid", edgeUser, "--regid", edgeUser, "--clear-groups", "prlimit", "--pid", strconv.Itoa(pid), "--nofile=" + descriptors + ":"}
		if out, err := exec.CommandContext(t.Context(), "setpriv", args...).CombinedOutput(); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
	}
	before := string(limitOfDescriptors(t))
	limit("8")
	return func() { limit(before) }
}

// shoot takes a screenshot of the status page, and returns the sentences that it says.
func shoot(t *testing.T, name string) (said []string) {
	t.Helper()
	dir := os.Getenv("EDGE_TEST_PICTURES")
	if dir == "" {
		dir = t.TempDir()
	}
	address := fmt.Sprintf("https://status.localhost:%s/", stack.HTTPS)
	cmd := exec.CommandContext(t.Context(), "node", filepath.Join(harness.Root(), "tests", "browser", "shoot.js"), dir, name+"="+address)
	cmd.Env = append(os.Environ(), "AUTHORIZATION=Basic "+base64.StdEncoding.EncodeToString([]byte("admin:"+password)))
	out, err := cmd.CombinedOutput()
	if err != nil || !strings.Contains(string(out), ": 200 ") {
		t.Errorf("screenshot: %v: %s", err, out)
	}
	for line := range strings.Lines(string(out)) {
		if line = strings.TrimSpace(line); line != "" && !strings.HasPrefix(line, name+" ") && !slices.Contains(said, line) {
			said = append(said, line)
		}
	}
	return said
}
