package proxy_test

import (
	"net/http"
	"testing"

	"github.com/theworklabs/edge/internal/registry"
)

func TestAnErrorPageCanShowTheDowntime(t *testing.T) {
	a := newBackend(t, echo("a")).start(t)
	ready, failing := watchState(t, a.address, registry.Ready), watchState(t, a.address, registry.Failing)
	s := serve(t, map[string][]string{"api:80": {a.address}},
		"edge_proxy api:80 {\n hold 1s\n}\nhandle_errors {\n respond \"down:{edge.service.down}\"\n}")
	<-ready
	a.stop()
	status, text, h := s.send(t, http.MethodGet, "/", nil)
	<-failing
	if status != http.StatusServiceUnavailable || text != "down:1 seconds" || h.Get("Retry-After") == "" {
		t.Errorf("%d %q, Retry-After %q", status, text, h.Get("Retry-After"))
	}
}
