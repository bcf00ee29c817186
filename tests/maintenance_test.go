package tests

import (
	"net/http"
	"strings"
	"testing"

	"github.com/theworklabs/edge/tests/harness"
)

// maintenance runs `edge maintenance` in the edge's container, as an operator does.
func (p *project) maintenance(t *testing.T, args ...string) string {
	t.Helper()
	return p.MustCompose(t, append([]string{"exec", "-T", "edge", "edge", "maintenance", "--address", "0.0.0.0:2019"}, args...)...)
}

func TestMaintenanceSurvivesRestartAndReplacement(t *testing.T) {
	p := newLab(t)
	p.Files = append(p.Files, "lab/data.yaml")
	p.MustCompose(t, "up", "--detach")
	p.WaitReady(t, "api:8080", 1)
	const url = "http://pages.localhost/_test/echo"
	if a := p.Get(t, url); a.Status != http.StatusOK {
		t.Fatalf("before: %d", a.Status)
	}
	p.maintenance(t, "on", "api", "--retry-after", "2m", "--message", "Back at <noon>.")

	page := p.Get(t, url, "Accept", "text/html,*/*;q=0.8")
	id := page.Header.Get("X-Request-Id")
	if page.Status != http.StatusServiceUnavailable || page.Header.Get("Retry-After") != "120" || page.Header.Get("Refresh") != "30" {
		t.Errorf("a browser gets %d %v", page.Status, page.Header)
	}
	for _, want := range []string{"<h1>Maintenance</h1>", "Back at &lt;noon&gt;.", "about 2 minutes", id} {
		if !strings.Contains(page.Body, want) {
			t.Errorf("%q is missing in\n%s", want, page.Body)
		}
	}
	harness.Eventually(t, "the access log has the request's ID", func() bool {
		return id != "" && strings.Contains(p.MustCompose(t, "logs", "--no-color", "edge"), `"uuid":"`+id+`"`)
	})

	refused := func(when string) {
		t.Helper()
		harness.Eventually(t, "the edge answers "+when, func() bool {
			a, err := harness.Do(p.Client(false, nil), http.MethodGet, "http://localhost/", nil)
			return err == nil && a.Status != 0
		})
		a := p.Get(t, url)
		if a.Status != http.StatusServiceUnavailable || a.Header.Get("Content-Type") != "application/problem+json" || a.Header.Get("Retry-After") != "120" {
			t.Errorf("%s, a program gets %d %v", when, a.Status, a.Header)
		}
		if s := p.ServiceStatus(t, "api:8080"); s.Maintenance != "refuse" {
			t.Errorf("%s, the service is %+v", when, s)
		}
	}
	refused("at first")
	p.MustCompose(t, "restart", "edge")
	refused("after a restart")
	p.MustCompose(t, "up", "--detach", "--force-recreate", "--no-deps", "edge")
	refused("after a replacement")

	p.WaitReady(t, "api:8080", 1) // the edge goes on to probe it
	p.maintenance(t, "on", "api", "--allow", "0.0.0.0/0,::/0")
	if a := p.Get(t, url); a.Status != http.StatusOK {
		t.Errorf("an allowed client gets %d, want 200", a.Status)
	}
	p.maintenance(t, "on", "api", "--hold")
	result := make(chan int, 1)
	go func() {
		a, err := harness.Do(p.Client(false, nil), http.MethodPost, url, strings.NewReader("hello"))
		if err != nil {
			t.Error(err)
		}
		result <- a.Status
	}()
	harness.Eventually(t, "the request waits", func() bool { return p.ServiceStatus(t, "api:8080").Held == 1 })
	if out := p.maintenance(t, "off"); !strings.Contains(out, "no service is in maintenance") {
		t.Errorf("edge maintenance off prints %s", out)
	}
	if status := <-result; status != http.StatusOK {
		t.Errorf("the held request gets %d, want 200", status)
	}
}
