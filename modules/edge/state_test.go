package edge_test

import (
	"encoding/json"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/theworklabs/edge/modules/edge"
)

func TestStateIsHandedOver(t *testing.T) {
	if _, err := adminRequest(t, http.MethodGet, "/edge/state", ""); apiErrorStatus(err) != http.StatusServiceUnavailable {
		t.Errorf("without an edge: %v", err)
	}
	a, b := listen(t, "127.0.0.1:0"), listen(t, "127.0.0.1:0")
	s := newTestEdge(t)
	s.load(object{"static": object{"api:80": []any{a, b}}}, object{"service": "api:80"})
	s.eventuallyServes("api:80", a)
	const session = `{"service": "api:80", "sid": "k3Vq0bXw9TzR5mJdAAAC", "endpoint": "somewhere", "lifetime": 64000000000, "unused": 1000}`
	for range 2 { // it may be repeated
		if _, err := adminRequest(t, http.MethodPost, "/edge/state", `{"of another version": true, "sessions": [`+session+`], "drained": ["`+a+`", "10.1.2.3:4"],
			"retry_budgets": {"api:80": [{"at": `+strconv.FormatInt(time.Now().Unix(), 10)+`, "requests": 400, "retries": 3}]}}`); err != nil {
			t.Fatal(err)
		}
	}
	w, err := adminRequest(t, http.MethodGet, "/edge/state", "")
	if err != nil {
		t.Fatal(err)
	}
	var got edge.State
	if err := json.Unmarshal(w.Body.Bytes(), &got); err != nil {
		t.Fatal(err)
	}
	if counted := got.RetryBudgets["api:80"]; len(counted) == 0 || counted[0].Requests < 400 || counted[0].Retries != 3 {
		t.Errorf("got the retry budgets %v", got.RetryBudgets)
	}
	if len(got.Sessions) != 1 || got.Sessions[0].Endpoint != "somewhere" || len(got.Drained) != 1 || got.Drained[0] != a {
		t.Errorf("got %s", w.Body)
	}
	// More than the other requests of the API may have.
	large := `{"sessions": [` + strings.Repeat(session+",", 20_000) + session + `]}`
	if _, err := adminRequest(t, http.MethodPost, "/edge/state", large); err != nil {
		t.Error(err)
	}
	if _, err := adminRequest(t, http.MethodPost, "/edge/state", `{"sessions": 5}`); apiErrorStatus(err) != http.StatusBadRequest {
		t.Errorf("garbage: %v", err)
	}
}

func TestHandoverNeedsAGate(t *testing.T) {
	w, err := adminRequest(t, http.MethodGet, "/edge/handover", "")
	if err != nil || !strings.Contains(w.Body.String(), `"connections":0`) {
		t.Errorf("got %s, %v", w.Body, err)
	}
	for body, status := range map[string]int{`{"action": "leave"}`: http.StatusConflict, `{"action": "go"}`: http.StatusBadRequest, `{}`: http.StatusBadRequest} {
		if _, err := adminRequest(t, http.MethodPost, "/edge/handover", body); apiErrorStatus(err) != status {
			t.Errorf("%s: %v", body, err)
		}
	}
}
