package observability

import (
	"encoding/base64"
	"net/http"
	"os/exec"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/theworklabs/edge/tests/harness"
)

// TestMetricsCanBeReadFromTheirNetworkAlone: other containers, which are on another network with the edge, have the connection closed.
func TestMetricsCanBeReadFromTheirNetworkAlone(t *testing.T) {
	stack.WaitReady(t, "corteza-docs:80", 1)
	read := func(service string) (string, error) {
		return stack.Compose(t.Context(), "exec", "-T", service, "curl", "-sS", "-m", "5", "-H", "X-Forwarded-For: 172.16.181.200", "http://edge:9180/metrics")
	}
	if out, err := read("prometheus"); err != nil || !strings.Contains(out, "edge_endpoints{") {
		t.Errorf("Prometheus reads %.200q: %v", out, err)
	}
	if out, err := read("corteza-docs"); err == nil {
		t.Errorf("an application reads %.200q", out)
	}
}

// TestTheEdgeKeepsToTheLimitOfItsContainer: Go collects garbage more often before the kernel would kill the edge. The limit is Caddy's to set.
func TestTheEdgeKeepsToTheLimitOfItsContainer(t *testing.T) {
	limit, err := strconv.ParseFloat(strings.TrimSpace(harness.MustDocker(t, "inspect", "--format", "{{.HostConfig.Memory}}", stack.Name+"-edge-1")), 64)
	if err != nil || limit == 0 {
		t.Fatalf("the container's limit is %v: %v", limit, err)
	}
	want := strconv.FormatInt(int64(limit*.9), 10)
	harness.Eventually(t, "GOMEMLIMIT is nine tenths of the container's limit, "+want, func() bool {
		found, err := stack.query(t.Context(), `go_gc_gomemlimit_bytes{job="edge"}`, time.Time{})
		return err == nil && len(found) == 1 && found[0].Value[1] == want
	})
}

// TestPagesAreBehindALogin, and what is behind it gets the user's name, not the password.
func TestPagesAreBehindALogin(t *testing.T) {
	credentials := "Basic " + base64.StdEncoding.EncodeToString([]byte("admin:"+password))
	for _, name := range []string{"grafana", "logs", "status"} {
		if answer := stack.Get(t, site(name)+"/"); answer.Status != http.StatusUnauthorized || !strings.HasPrefix(answer.Header.Get("Www-Authenticate"), "Basic ") {
			t.Errorf("%s answers %d without a password", name, answer.Status)
		}
		if answer := stack.Get(t, site(name)+"/", "Authorization", "Basic "+base64.StdEncoding.EncodeToString([]byte("admin:wrong"))); answer.Status != http.StatusUnauthorized {
			t.Errorf("%s answers %d to a wrong password", name, answer.Status)
		}
		harness.Eventually(t, name+" answers", func() bool { return stack.Get(t, site(name)+"/", "Authorization", credentials).Status == http.StatusOK })
		if answer := stack.Get(t, "http://"+name+".localhost/"); answer.Status != http.StatusPermanentRedirect {
			t.Errorf("%s answers %d over HTTP", name, answer.Status)
		}
	}
	answer := stack.Get(t, site("grafana")+"/_test/echo", "Authorization", credentials, "X-Webauth-User", "somebody-else")
	if !strings.Contains(answer.Body, `"X-Webauth-User":["admin"]`) || strings.Contains(answer.Body, "Authorization") || strings.Contains(answer.Body, "somebody-else") {
		t.Errorf("Grafana gets %s", answer.Body)
	}
}

// TestTheOverlayNeedsAPassword.
func TestTheOverlayNeedsAPassword(t *testing.T) {
	cmd := exec.Command("docker", append(append([]string{"compose"}, stack.FileArgs()...), "config", "--quiet")...)
	cmd.Env = append(stack.Environ(), "OBSERVABILITY_PASSWORD_HASH=")
	if out, err := cmd.CombinedOutput(); err == nil || !strings.Contains(string(out), "edge hash-password") {
		t.Errorf("%v: %s", err, out)
	}
}
