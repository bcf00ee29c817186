package edge_test

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/theworklabs/edge/internal/maintenance"
)

// inMaintenance returns the services that the admin API says are in maintenance.
func inMaintenance(t *testing.T) string {
	t.Helper()
	w, err := adminAPI(t, http.MethodGet, "/edge/maintenance", "")
	if err != nil {
		t.Fatal(err)
	}
	return listed(t, w)
}

func listed(t *testing.T, w *httptest.ResponseRecorder) string {
	t.Helper()
	book := new(maintenance.Snapshot)
	if err := json.Unmarshal(w.Body.Bytes(), book); err != nil {
		t.Fatalf("%v: %s", err, w.Body)
	}
	var names []string
	for _, c := range book.Windows() {
		names = append(names, c.Service)
	}
	return strings.Join(names, " ")
}

// order gives an order, and returns what is in maintenance then.
func order(t *testing.T, body string) string {
	t.Helper()
	w, err := adminAPI(t, http.MethodPost, "/edge/maintenance", body)
	if err != nil {
		t.Fatalf("%s: %v", body, err)
	}
	return listed(t, w)
}

// threeServices loads a configuration with some.
func threeServices(t *testing.T) *site {
	s := newSite(t)
	s.loadThree()
	return s
}

func (s *site) loadThree() {
	s.t.Helper()
	s.load(object{}, object{"service": "api:80"}, object{"service": "api:81"}, object{"service": "web:80"})
}

func TestMaintenanceIsOrderedForSomeServicesOrAll(t *testing.T) {
	threeServices(t)
	for _, step := range []struct{ order, want string }{
		{`{"on": false}`, ""},
		{`{"on": true, "services": ["web:80"]}`, "web:80"},
		{`{"on": true, "services": ["api"], "hold": true}`, "api:80 api:81 web:80"},
		{`{"on": false, "services": ["api:81", "web"]}`, "api:80"},
		{`{"on": false, "services": ["web:80"]}`, "api:80"},
		{`{"on": true}`, "api:80 api:81 web:80"},
		{`{"on": false}`, ""},
	} {
		if got := order(t, step.order); got != step.want || inMaintenance(t) != step.want {
			t.Errorf("%s: %q, then %q, want %q", step.order, got, inMaintenance(t), step.want)
		}
	}
}

func TestAnOrderForMaintenanceThatCanNotBeMeantChangesNothing(t *testing.T) {
	if _, err := adminAPI(t, http.MethodGet, "/edge/maintenance", ""); status(err) != http.StatusServiceUnavailable {
		t.Errorf("without an edge: %v", err)
	}
	threeServices(t)
	order(t, `{"on": true, "services": ["web:80"], "message": "kept"}`)
	for _, c := range []struct {
		method, body string
		status       int
		words        string
	}{
		{http.MethodDelete, ``, http.StatusMethodNotAllowed, "use GET or POST"},
		{http.MethodPost, ``, http.StatusBadRequest, "read the request"},
		{http.MethodPost, `{}`, http.StatusBadRequest, `want {"on": true}`},
		{http.MethodPost, `{"on": true, "service": "api"}`, http.StatusBadRequest, "unknown field"},
		{http.MethodPost, `{"on": true, "services": ["web:80", "wbe"]}`, http.StatusNotFound, `no service "wbe" (known: api:80, api:81, web:80)`},
		{http.MethodPost, `{"on": false, "services": ["wbe"]}`, http.StatusNotFound, `no service "wbe" (known: api:80, api:81, web:80)`},
		{http.MethodPost, `{"on": true, "allow": ["home"]}`, http.StatusBadRequest, `allow "home": want an address`},
		{http.MethodPost, `{"on": true, "retry_after": "soon"}`, http.StatusBadRequest, "want a time such as 5m"},
		{http.MethodPost, `{"on": true, "retry_after": "-5m"}`, http.StatusBadRequest, "from 1s to 720h"},
		{http.MethodPost, `{"on": true, "message": "\u001b"}`, http.StatusBadRequest, "no character to show"},
	} {
		if _, err := adminAPI(t, c.method, "/edge/maintenance", c.body); status(err) != c.status || !strings.Contains(err.Error(), c.words) {
			t.Errorf("%s %s: got %v, want %d with %q", c.method, c.body, err, c.status, c.words)
		}
	}
	w, err := adminAPI(t, http.MethodGet, "/edge/maintenance", "")
	if err != nil || !strings.Contains(w.Body.String(), `"message":"kept"`) || listed(t, w) != "web:80" {
		t.Errorf("%v %s", err, w.Body)
	}
}

func TestWithoutServicesThereIsNothingToMaintain(t *testing.T) {
	newSite(t).load(object{})
	if _, err := adminAPI(t, http.MethodPost, "/edge/maintenance", `{"on": true}`); status(err) != http.StatusNotFound {
		t.Errorf("got %v, want 404", err)
	}
}

func TestMaintenanceSurvivesReloadsAndRestarts(t *testing.T) {
	s := threeServices(t)
	order(t, `{"on": true, "services": ["web:80"], "hold": true, "allow": ["10.0.0.0/8"], "retry_after": "1h", "message": "Back at noon."}`)
	before, err := adminAPI(t, http.MethodGet, "/edge/maintenance", "")
	if err != nil {
		t.Fatal(err)
	}
	for name, again := range map[string]func(){
		"a reload":     s.loadThree,
		"a recreation": func() { s.stop(); s.loadThree() },
	} {
		again()
		after, err := adminAPI(t, http.MethodGet, "/edge/maintenance", "")
		if err != nil || after.Body.String() != before.Body.String() {
			t.Errorf("after %s: %v\n%s, before:\n%s", name, err, after.Body, before.Body)
		}
	}
	all := services(t)
	if all["web:80"].Maintenance != "hold" || all["api:80"].Maintenance != "" {
		t.Errorf("the services' status is %+v", all)
	}
	s.load(object{}, object{"service": "api:80"})
	if got := order(t, `{"on": false, "services": ["web"]}`); got != "" { // no route leads there any more
		t.Errorf("%s is still in maintenance", got)
	}
}

func TestWhatCanNotBeKeptIsNotDone(t *testing.T) {
	s := threeServices(t)
	order(t, `{"on": true, "services": ["web:80"]}`)
	path := filepath.Join(s.storage, "edge", "maintenance.json")
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(filepath.Join(path, "x"), 0o700); err != nil { // no file can be there
		t.Fatal(err)
	}
	for _, body := range []string{`{"on": true, "services": ["api:80"]}`, `{"on": false, "services": ["web:80"]}`, `{"on": false}`} {
		_, err := adminAPI(t, http.MethodPost, "/edge/maintenance", body)
		if status(err) != http.StatusInternalServerError || !strings.Contains(err.Error(), "nothing is changed: ") {
			t.Errorf("%s: got %v, want 500", body, err)
		}
		if got := inMaintenance(t); got != "web:80" {
			t.Errorf("%s: in maintenance: %q, want web:80 alone", body, got)
		}
	}
}

func TestAllMaintenanceCanBeEndedWhateverTheStorageHas(t *testing.T) {
	s := threeServices(t)
	s.stop()
	path := filepath.Join(s.storage, "edge", "maintenance.json")
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	s.loadThree() // it starts nevertheless
	if got := inMaintenance(t); got != "" {
		t.Errorf("in maintenance: %q", got)
	}
	_, err := adminAPI(t, http.MethodPost, "/edge/maintenance", `{"on": true, "services": ["web"]}`)
	if status(err) != http.StatusInternalServerError || !strings.Contains(err.Error(), "`edge maintenance off` writes it anew") {
		t.Errorf("got %v", err)
	}
	order(t, `{"on": false}`)
	if got := order(t, `{"on": true, "services": ["web"]}`); got != "web:80" {
		t.Errorf("in maintenance: %q", got)
	}
}
