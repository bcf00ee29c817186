package edge_test

import (
	"encoding/json"
	"errors"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/caddyserver/caddy/v2"

	"github.com/theworklabs/edge/internal/traffic"
)

func TestAdminAPIListsServices(t *testing.T) {
	if w, err := requestServices(t, http.MethodGet); err != nil || strings.TrimSpace(w.Body.String()) != "[]" {
		t.Errorf("without an edge: %q %v, want an empty list", w.Body, err)
	}
	api := listen(t, "127.0.0.1:0")
	s := newTestEdge(t)
	s.load(object{"static": object{"api:80": []any{api}}}, object{"service": "web:80"}, object{"service": "api:80"})
	s.eventuallyServes("api:80", api)
	w, err := requestServices(t, http.MethodGet)
	if err != nil || w.Code != http.StatusOK || w.Header().Get("Content-Type") != "application/json" {
		t.Fatalf("%d %v %v", w.Code, w.Header(), err)
	}
	var at []int
	for _, part := range []string{
		`"service":"api:80"`, `"ready":1`, `"source":"static"`, `"known":true`, `"address":"` + api + `"`, `"state":"ready"`,
		`"service":"web:80"`, `"ready":0`, `"known":false`, `"endpoints":[]`,
	} {
		at = append(at, strings.Index(w.Body.String(), part))
	}
	if slices.Contains(at, -1) || at[0] > at[6] {
		t.Errorf("got %s, want api:80 with its endpoint and web:80 without any", w.Body)
	}
	if _, err := requestServices(t, http.MethodHead); err != nil {
		t.Errorf("HEAD: %v", err)
	}
}

func TestServicesAPIIsReadOnly(t *testing.T) {
	for _, method := range []string{http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete} {
		w, err := requestServices(t, method)
		apiErr, ok := errors.AsType[caddy.APIError](err)
		if !ok || apiErr.HTTPStatus != http.StatusMethodNotAllowed || w.Body.Len() > 0 {
			t.Errorf("%s: got %v %q, want 405", method, err, w.Body)
		}
	}
}

func TestAdminAPITakesDeployments(t *testing.T) {
	newThreeServiceEdge(t)
	if _, err := adminRequest(t, http.MethodPost, "/edge/deployments", `{"project": "shop", "service": "web", "image": "shop/web:2", "by": "ci", "result": "deployed"}`); err != nil {
		t.Fatal(err)
	}
	for _, body := range []string{`x`, `{"project": "shop", "service": "web", "result": "unknown"}`, `{"service": "web", "result": "bad"}`, `{"unknown": 1}`} {
		if _, err := adminRequest(t, http.MethodPost, "/edge/deployments", body); apiErrorStatus(err) != http.StatusBadRequest {
			t.Errorf("%s: got %v, want 400", body, err)
		}
	}
}

func TestAdminAPIHasTheTrafficOfEachService(t *testing.T) {
	newThreeServiceEdge(t)
	w, err := adminRequest(t, http.MethodGet, "/edge/traffic", "")
	var histories map[string][]traffic.Point
	if err == nil {
		err = json.Unmarshal(w.Body.Bytes(), &histories)
	}
	if err != nil || len(histories) != 3 || len(histories["api:80"]) != traffic.HistoryLength-1 {
		t.Errorf("%v: %d services, %.300s", err, len(histories), w.Body)
	}
}
