package edge_test

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/theworklabs/edge/internal/maintenance"
	"github.com/theworklabs/edge/modules/edge"
)

// servicesInMaintenance returns the services that the admin API lists as in maintenance.
func servicesInMaintenance(t *testing.T) string {
	t.Helper()
	w, err := adminRequest(t, http.MethodGet, "/edge/maintenance", "")
	if err != nil {
		t.Fatal(err)
	}
	return decodeServices(t, w)
}

// decodeServices returns the services of an answer, in their order.
func decodeServices(t *testing.T, w *httptest.ResponseRecorder) string {
	t.Helper()
	snapshot := new(maintenance.Snapshot)
	if err := json.Unmarshal(w.Body.Bytes(), snapshot); err != nil {
		t.Fatalf("%v: %s", err, w.Body)
	}
	var names []string
	for _, window := range snapshot.Windows() {
		names = append(names, window.Service)
	}
	return strings.Join(names, " ")
}

// postMaintenance sends a request, and returns the services that are in maintenance after it.
func postMaintenance(t *testing.T, body string) string {
	t.Helper()
	w, err := adminRequest(t, http.MethodPost, "/edge/maintenance", body)
	if err != nil {
		t.Fatalf("%s: %v", body, err)
	}
	return decodeServices(t, w)
}

// newThreeServiceEdge loads a configuration with the services api:80, api:81 and web:80.
func newThreeServiceEdge(t *testing.T) *testEdge {
	s := newTestEdge(t)
	s.loadThreeServices()
	return s
}

func (s *testEdge) loadThreeServices() {
	s.t.Helper()
	s.load(object{}, object{"service": "api:80"}, object{"service": "api:81"}, object{"service": "web:80"})
}

func TestMaintenanceCoversNamedServicesOrAll(t *testing.T) {
	newThreeServiceEdge(t)
	for _, step := range []struct{ body, want string }{
		{`{"on": false}`, ""},
		{`{"on": true, "services": ["web:80"]}`, "web:80"},
		{`{"on": true, "services": ["api"], "hold": true}`, "api:80 api:81 web:80"},
		{`{"on": false, "services": ["api:81", "web"]}`, "api:80"},
		{`{"on": false, "services": ["web:80"]}`, "api:80"},
		{`{"on": true}`, "api:80 api:81 web:80"},
		{`{"on": false}`, ""},
	} {
		if got := postMaintenance(t, step.body); got != step.want || servicesInMaintenance(t) != step.want {
			t.Errorf("%s: %q, then %q, want %q", step.body, got, servicesInMaintenance(t), step.want)
		}
	}
}

// TestMaintenanceOfPoolsAndProjects: one name of a pool is enough, a name without its project if it is clear, and a whole project.
func TestMaintenanceOfPoolsAndProjects(t *testing.T) {
	s := newTestEdge(t)
	s.load(object{}, object{"service": "api-2:81,api:80"}, object{"service": "shop/web:80"}, object{"service": "shop/cart:80"}, object{"service": "blog/web:80"})
	for _, step := range []struct{ body, want string }{
		{`{"on": true, "services": ["api-2"]}`, "api:80,api-2:81"},
		{`{"on": false, "services": ["api:80"]}`, ""},
		{`{"on": true, "services": ["shop/"]}`, "shop/cart:80 shop/web:80"},
		{`{"on": false, "services": ["cart"]}`, "shop/web:80"},
		{`{"on": false, "services": ["shop/web"]}`, ""},
	} {
		if got := postMaintenance(t, step.body); got != step.want {
			t.Errorf("%s: %q, want %q", step.body, got, step.want)
		}
	}
	_, err := adminRequest(t, http.MethodPost, "/edge/maintenance", `{"on": true, "services": ["web"]}`)
	if want := `"web" is a service of several projects: name one of blog/web:80, shop/web:80`; apiErrorStatus(err) != http.StatusNotFound || !strings.Contains(err.Error(), want) {
		t.Errorf("got %v, want %q", err, want)
	}

	// A reload with one more name.
	postMaintenance(t, `{"on": true, "services": ["api"]}`)
	s.load(object{}, object{"service": "api:80,api-2:81,api-3:82"})
	if got := edge.Snapshot()[0]; got.Service != "api:80,api-2:81,api-3:82" || got.Maintenance != "refuse" || time.Since(got.MaintenanceSince) > time.Minute {
		t.Errorf("after a reload with one more name, %s has the maintenance %q since %s", got.Service, got.Maintenance, got.MaintenanceSince)
	}
	if got := postMaintenance(t, `{"on": false, "services": ["api:80,api-2:81,api-3:82"]}`); got != "" {
		t.Errorf("%q is left in maintenance", got)
	}
}

func TestInvalidMaintenanceRequestChangesNothing(t *testing.T) {
	if _, err := adminRequest(t, http.MethodGet, "/edge/maintenance", ""); apiErrorStatus(err) != http.StatusServiceUnavailable {
		t.Errorf("without an edge: %v", err)
	}
	newThreeServiceEdge(t)
	postMaintenance(t, `{"on": true, "services": ["web:80"], "message": "kept"}`)
	for _, c := range []struct {
		method, body string
		status       int
		want         string
	}{
		{http.MethodDelete, ``, http.StatusMethodNotAllowed, "use GET or POST"},
		{http.MethodPost, ``, http.StatusBadRequest, "read the request"},
		{http.MethodPost, `{}`, http.StatusBadRequest, `want {"on": true}`},
		{http.MethodPost, `{"on": true, "service": "api"}`, http.StatusBadRequest, "unknown field"},
		{http.MethodPost, `{"on": true, "services": ["web:80", "wbe"]}`, http.StatusNotFound, `no service "wbe" (known: api:80, api:81, web:80)`},
		{http.MethodPost, `{"on": false, "services": ["wbe"]}`, http.StatusNotFound, `no service "wbe" (known: api:80, api:81, web:80)`},
		{http.MethodPost, `{"on": true, "allow": ["home"]}`, http.StatusBadRequest, `allow "home": want an address`},
		{http.MethodPost, `{"on": true, "retry_after": "soon"}`, http.StatusBadRequest, "want a duration such as 5m"},
		{http.MethodPost, `{"on": true, "retry_after": "-5m"}`, http.StatusBadRequest, "from 1s to 720h"},
		{http.MethodPost, `{"on": true, "message": "\u001b"}`, http.StatusBadRequest, "contains the control character"},
	} {
		if _, err := adminRequest(t, c.method, "/edge/maintenance", c.body); apiErrorStatus(err) != c.status || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s %s: got %v, want %d with %q", c.method, c.body, err, c.status, c.want)
		}
	}
	w, err := adminRequest(t, http.MethodGet, "/edge/maintenance", "")
	if err != nil || !strings.Contains(w.Body.String(), `"message":"kept"`) || decodeServices(t, w) != "web:80" {
		t.Errorf("%v %s", err, w.Body)
	}
}

func TestMaintenanceWithoutServicesIsNotFound(t *testing.T) {
	newTestEdge(t).load(object{})
	if _, err := adminRequest(t, http.MethodPost, "/edge/maintenance", `{"on": true}`); apiErrorStatus(err) != http.StatusNotFound {
		t.Errorf("got %v, want 404", err)
	}
}

func TestMaintenanceSurvivesReloadsAndRestarts(t *testing.T) {
	s := newThreeServiceEdge(t)
	postMaintenance(t, `{"on": true, "services": ["web:80"], "hold": true, "allow": ["10.0.0.0/8"], "retry_after": "1h", "message": "Back at noon."}`)
	before, err := adminRequest(t, http.MethodGet, "/edge/maintenance", "")
	if err != nil {
		t.Fatal(err)
	}
	for name, restart := range map[string]func(){
		"a reload":     s.loadThreeServices,
		"a recreation": func() { s.stop(); s.loadThreeServices() },
	} {
		restart()
		after, err := adminRequest(t, http.MethodGet, "/edge/maintenance", "")
		if err != nil || after.Body.String() != before.Body.String() {
			t.Errorf("after %s: %v\n%s, before:\n%s", name, err, after.Body, before.Body)
		}
	}
	all := services(t)
	if all["web:80"].Maintenance != "hold" || all["api:80"].Maintenance != "" {
		t.Errorf("the services' status is %+v", all)
	}
	s.load(object{}, object{"service": "api:80"})
	if got := postMaintenance(t, `{"on": false, "services": ["web"]}`); got != "" { // no route leads to it any more
		t.Errorf("%s is still in maintenance", got)
	}
}

func TestMaintenanceIsRefusedIfItCannotBeStored(t *testing.T) {
	s := newThreeServiceEdge(t)
	postMaintenance(t, `{"on": true, "services": ["web:80"]}`)
	path := filepath.Join(s.storage, "edge", "maintenance.json")
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(filepath.Join(path, "x"), 0o700); err != nil { // a directory in the place of the file
		t.Fatal(err)
	}
	for _, body := range []string{`{"on": true, "services": ["api:80"]}`, `{"on": false, "services": ["web:80"]}`, `{"on": false}`} {
		_, err := adminRequest(t, http.MethodPost, "/edge/maintenance", body)
		if apiErrorStatus(err) != http.StatusInternalServerError || !strings.Contains(err.Error(), "nothing is changed: ") {
			t.Errorf("%s: got %v, want status 500", body, err)
		}
		if got := servicesInMaintenance(t); got != "web:80" {
			t.Errorf("%s: in maintenance: %q, want web:80 alone", body, got)
		}
	}
}

func TestAllMaintenanceCanEndWithCorruptStorage(t *testing.T) {
	s := newThreeServiceEdge(t)
	s.stop()
	path := filepath.Join(s.storage, "edge", "maintenance.json")
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	s.loadThreeServices() // the edge starts
	if got := servicesInMaintenance(t); got != "" {
		t.Errorf("in maintenance: %q", got)
	}
	_, err := adminRequest(t, http.MethodPost, "/edge/maintenance", `{"on": true, "services": ["web"]}`)
	if apiErrorStatus(err) != http.StatusInternalServerError || !strings.Contains(err.Error(), "`edge maintenance off` writes it anew") {
		t.Errorf("got %v", err)
	}
	postMaintenance(t, `{"on": false}`)
	if got := postMaintenance(t, `{"on": true, "services": ["web"]}`); got != "web:80" {
		t.Errorf("in maintenance: %q", got)
	}
}
