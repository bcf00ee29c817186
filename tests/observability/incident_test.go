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
	if err := get(ctx, s.alertmanager+"/api/v2/alerts", url.Values{"active": {"true"}}, &alerts); err != nil {
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

// TestAnIncident plays one, with the shipped alerts: an application that becomes slow, then dies, then gets a bad version. It takes 22 minutes, because what
// is slow is measured against the day before: make incident. EDGE_TEST_PICTURES is where the screenshots go.
func TestAnIncident(t *testing.T) {
	if os.Getenv("EDGE_TEST_INCIDENT") == "" {
		t.Skip("22 minutes: make incident")
	}
	const service = "corteza-docs:80"
	stack.WaitReady(t, service, 1)
	ctx, cancel := context.WithCancel(t.Context())
	var loads sync.WaitGroup
	defer loads.Wait()
	defer cancel()
	var mu sync.Mutex
	path := "/_test/echo"
	request := func() string {
		mu.Lock()
		defer mu.Unlock()
		return path
	}
	for range 10 {
		loads.Go(func() {
			client := stack.Client(true, nil)
			for ctx.Err() == nil {
				_, _ = harness.Do(client, http.MethodGet, site("docs")+request(), nil) // its figures are what is looked at
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
		shoot(t, step)
		return figures
	}

	say("quiet")
	time.Sleep(11 * time.Minute)
	shoot(t, "quiet")
	mu.Lock()
	path = "/_test/slow?d=3s"
	mu.Unlock()
	if f := wait("slow", "ServiceSlow", 5*time.Minute); f["first_byte p95"] < 1 || f["application's errors"] > 0.1 || f["refused by the edge"] > 0.1 || f["containers, ready"] != 1 {
		t.Errorf("what is slow looks like %v", f)
	}
	stack.MustCompose(t, "kill", "corteza-docs")
	if f := wait("dead", "NoReadyEndpoint", 4*time.Minute); f["containers, ready"] != 0 || f["application's errors"] > 0.1 {
		t.Errorf("what is dead looks like %v", f)
	}
	mu.Lock()
	path = "/_test/echo"
	mu.Unlock()
	stack.MustCompose(t, "up", "--detach", "corteza-docs")
	stack.WaitReady(t, service, 1)
	harness.EventuallyWithin(t, 8*time.Minute, "the alerts end, and no request was lost for two minutes", func() bool {
		found, err := stack.query(t.Context(), `sum(increase(edge_requests_lost_total{service="corteza-docs:80"}[2m])) == 0`, time.Time{})
		return err == nil && len(found) > 0 && stack.firing(t.Context(), service)["NoReadyEndpoint"].IsZero()
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
	stack.Setenv("TEST_FAIL_STATUS", "")
	stack.MustCompose(t, "up", "--detach", "corteza-docs")
}

// shoot takes a screenshot of the status page, if there is a place for it.
func shoot(t *testing.T, name string) {
	t.Helper()
	dir := os.Getenv("EDGE_TEST_PICTURES")
	if dir == "" {
		return
	}
	address := fmt.Sprintf("https://status.localhost:%s/", stack.HTTPS)
	cmd := exec.CommandContext(t.Context(), "node", filepath.Join(harness.Root(), "tests", "browser", "shoot.js"), dir, name+"="+address)
	cmd.Env = append(os.Environ(), "AUTHORIZATION=Basic "+base64.StdEncoding.EncodeToString([]byte("admin:"+password)))
	if out, err := cmd.CombinedOutput(); err != nil || !strings.Contains(string(out), ": 200 ") {
		t.Errorf("screenshot: %v: %s", err, out)
	}
}
