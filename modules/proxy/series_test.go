package proxy_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
)

// series returns the names and labels of all series, Caddy's included.
func (s *site) series(t *testing.T) map[string]bool {
	t.Helper()
	_, text, _ := s.send(t, http.MethodGet, "/metrics", nil)
	all := make(map[string]bool)
	for line := range strings.Lines(text) {
		line = strings.TrimSpace(line)
		if i := strings.LastIndexByte(line, ' '); i > 0 && !strings.HasPrefix(line, "#") {
			all[line[:i]] = true
		}
	}
	return all
}

// TestClientsCannotMakeSeries: a client that sends hosts, paths, methods, headers and IDs that nobody has sent before does not add to what a Prometheus has to keep.
func TestClientsCannotMakeSeries(t *testing.T) {
	a := newBackend(t, func(http.ResponseWriter, *http.Request) {}).start(t)
	s := &site{static: map[string][]string{"api:80": {a.address}}, globalOptions: "\tmetrics"}
	s.start(t, "handle /metrics {\n metrics\n}\nhandle {\n edge_proxy api:80\n}")
	s.eventuallyResponds(t, "/", "")
	hostile := func(i int) {
		t.Helper()
		req, err := http.NewRequest(fmt.Sprintf("METHOD%d", i), fmt.Sprintf("%s/path%d?query=%d", s.url, i, i), nil)
		if err != nil {
			t.Fatal(err)
		}
		req.Host = fmt.Sprintf("host%d.example", i)
		for _, name := range []string{"X-Request-Id", "X-Forwarded-For", "X-Forwarded-Host", "Traceparent", "User-Agent", fmt.Sprintf("X-Name%d", i)} {
			req.Header.Set(name, fmt.Sprintf("value%d", i))
		}
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
	}
	hostile(0) // whose series others share
	s.send(t, http.MethodGet, "/", nil)
	s.series(t)
	before := s.series(t)
	for i := range 300 {
		hostile(i + 1)
	}
	for name := range s.series(t) {
		if !before[name] {
			t.Errorf("a client has made the series %s", name)
		}
	}
	if len(before) < 50 {
		t.Errorf("there are only %d series", len(before))
	}
}
