package edge_test

import (
	"encoding/json"
	"errors"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/caddyserver/caddy/v2"

	"github.com/theworklabs/edge/modules/edge"
)

// postDrain posts a drain request and returns the only endpoint of the answer as "service state".
func postDrain(t *testing.T, body string) string {
	t.Helper()
	w, err := adminRequest(t, http.MethodPost, "/edge/drain", body)
	if err != nil {
		t.Fatal(err)
	}
	var answer edge.DrainResponse
	if err := json.Unmarshal(w.Body.Bytes(), &answer); err != nil || len(answer.Endpoints) != 1 {
		t.Fatalf("%s %v, want one endpoint", w.Body, err)
	}
	e := answer.Endpoints[0]
	return e.Service + " " + string(e.State)
}

func TestOperatorDrainsAndRestoresEndpoint(t *testing.T) {
	a, b := listen(t, "127.0.0.1:0"), listen(t, "127.0.0.1:0")
	s := newTestEdge(t)
	s.load(object{"static": object{"api:80": []any{a, b}}}, object{"service": "api:80"})
	s.eventuallyServes("api:80", a)
	s.eventuallyServes("api:80", b)
	if got := postDrain(t, `{"endpoints": ["`+a+`"]}`); got != "api:80 draining" {
		t.Errorf("drained: %s", got)
	}
	for range 20 {
		if got, err := s.get("api:80"); err != nil || got != b {
			t.Fatalf("after the drain a request got %s %v, want %s", got, err, b)
		}
	}
	if got := postDrain(t, `{"endpoints": ["`+a+`"], "undo": true}`); got != "api:80 ready" {
		t.Errorf("after undo: %s", got)
	}
	s.eventuallyServes("api:80", a)
}

// TestADrainThatIsNotShared counts for this edge.
func TestADrainThatIsNotShared(t *testing.T) {
	a, b := listen(t, "127.0.0.1:0"), listen(t, "127.0.0.1:0")
	s := newTestEdge(t)
	s.load(object{"static": object{"api:80": []any{a, b}}}, object{"service": "api:80"})
	s.eventuallyServes("api:80", a)
	directory := filepath.Join(s.storage, "edge")
	if err := errors.Join(os.RemoveAll(directory), os.WriteFile(directory, nil, 0o600)); err != nil {
		t.Fatal(err)
	}
	w, err := adminRequest(t, http.MethodPost, "/edge/drain", `{"endpoints": ["`+a+`"]}`)
	if err != nil {
		t.Fatal(err)
	}
	var answer edge.DrainResponse
	if err := json.Unmarshal(w.Body.Bytes(), &answer); err != nil || !strings.Contains(answer.NotShared, "edge/drains.json") || answer.SharedWithin != "" {
		t.Errorf("%s %v", w.Body, err)
	}
	for range 20 {
		if got, err := s.get("api:80"); err != nil || got != b {
			t.Fatalf("after the drain a request got %s %v, want %s", got, err, b)
		}
	}
}

func TestInvalidDrainRequestChangesNothing(t *testing.T) {
	if _, err := adminRequest(t, http.MethodPost, "/edge/drain", `{"endpoints": ["x"]}`); apiErrorStatus(err) != http.StatusServiceUnavailable {
		t.Errorf("without an edge: %v", err)
	}
	a := listen(t, "127.0.0.1:0")
	s := newTestEdge(t)
	s.load(object{"static": object{"api:80": []any{a}}}, object{"service": "api:80"})
	s.eventuallyServes("api:80", a)
	for _, c := range []struct {
		method, body string
		status       int
		want         string
	}{
		{http.MethodGet, `{}`, http.StatusMethodNotAllowed, "use POST"},
		{http.MethodPost, ``, http.StatusBadRequest, "read the request"},
		{http.MethodPost, `{"endpoint": "a"}`, http.StatusBadRequest, "unknown field"},
		{http.MethodPost, `{"endpoints": []}`, http.StatusBadRequest, "want {"},
		{http.MethodPost, `{"endpoints": ["` + a + `"], "sessions": "-1s"}`, http.StatusBadRequest, "want {"},
		{http.MethodPost, `{"endpoints": ["` + a + `", "10.1.2.3:4"]}`, http.StatusNotFound, `"10.1.2.3:4": no endpoint`},
	} {
		_, err := adminRequest(t, c.method, "/edge/drain", c.body)
		if apiErrorStatus(err) != c.status || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s %s: got %v, want %d with %q", c.method, c.body, err, c.status, c.want)
		}
	}
	s.eventuallyServes("api:80", a)
}

// apiErrorStatus returns the status that the admin API answers an error with.
func apiErrorStatus(err error) int {
	apiErr, _ := errors.AsType[caddy.APIError](err)
	return apiErr.HTTPStatus
}
