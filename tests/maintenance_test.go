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
	p.CheckGet(t, url, harness.Want{Status: http.StatusOK})
	p.maintenance(t, "on", "api", "--retry-after", "2m", "--message", "Back at <noon>.")

	page := p.CheckGet(t, url, harness.Want{
		Status: http.StatusServiceUnavailable, Header: map[string]string{"Retry-After": "120", "Refresh": "30"},
	}, "Accept", "text/html,*/*;q=0.8") // a browser
	id := page.Header.Get("X-Request-Id")
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
		p.CheckGet(t, url, harness.Want{
			Status: http.StatusServiceUnavailable, Header: map[string]string{"Content-Type": "application/problem+json", "Retry-After": "120"},
		}) // a program
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
	p.CheckGet(t, url, harness.Want{Status: http.StatusOK}) // an allowed client
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
