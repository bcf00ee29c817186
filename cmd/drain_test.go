package cmd

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/spf13/cobra"

	"github.com/theworklabs/edge/internal/registry"
)

// fakeAdmin is an admin API that records the requests, and answers each with the same status and body.
type fakeAdmin struct {
	requests []string
	status   int
	body     string
}

func (a *fakeAdmin) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.URL.Path == "/edge/services" {
		io.WriteString(w, `[{"service": "api:80", "endpoints": [{"id": "abc", "in_flight": 0}, {"id": "other", "in_flight": 9}]}]`)
		return
	}
	body, _ := io.ReadAll(r.Body) // the test compares the body
	a.requests = append(a.requests, r.Method+" "+r.URL.Path+" "+string(body))
	w.WriteHeader(a.status)
	io.WriteString(w, a.body)
}

// runDrainCommand runs the command against an admin API.
func runDrainCommand(t *testing.T, a *fakeAdmin, args ...string) (stdout, stderr string, err error) {
	t.Helper()
	server := httptest.NewServer(a)
	defer server.Close()
	c := &cobra.Command{Use: "drain"}
	drainCommand().CobraFunc(c)
	var out, errs bytes.Buffer
	c.SetOut(&out)
	c.SetErr(&errs)
	c.SetArgs(append(args, "--address", strings.TrimPrefix(server.URL, "http://")))
	err = c.ExecuteContext(t.Context())
	return out.String(), errs.String(), err
}

const drainResponse = `{"endpoints": [{"service": "api:80", "id": "abc", "state": "draining", "in_flight": 2, "sockets": 1}]}`

func TestDrainSendsRequestAndPrintsStatus(t *testing.T) {
	a := &fakeAdmin{status: 200, body: drainResponse}
	out, _, err := runDrainCommand(t, a, "abc", "def", "--sessions", "5s", "--wait", "1s")
	if err != nil {
		t.Fatal(err)
	}
	want := `POST /edge/drain {"endpoints":["abc","def"],"sessions":"5s","undo":false}`
	if len(a.requests) != 1 || a.requests[0] != want {
		t.Errorf("requests %q, want %q", a.requests, want)
	}
	if !strings.Contains(out, "api:80   abc       draining  2          1") {
		t.Errorf("printed\n%s", out)
	}
	if out, _, err = runDrainCommand(t, a, "abc", "--undo", "--json"); err != nil || out != drainResponse {
		t.Errorf("%v, printed %q", err, out)
	}
	if !strings.Contains(a.requests[1], `"undo":true`) {
		t.Errorf("request %q", a.requests[1])
	}
}

func TestDrainPrintsErrorsAndHints(t *testing.T) {
	for _, c := range []struct {
		admin fakeAdmin
		args  []string
		want  string
	}{
		{fakeAdmin{status: 404, body: `{"error":"\"x\": no endpoint has this ID"}`}, []string{"x"}, "edge: error: \"x\": no endpoint has this ID\nedge: hint: name a container, such as shop/web/1"},
		{fakeAdmin{status: 400, body: `{"error":"\"x\": more than one"}`}, []string{"x"}, "edge: error: \"x\": more than one\n"},
		{fakeAdmin{status: 500, body: `broken`}, []string{"x"}, "HTTP 500: broken"},
		{fakeAdmin{status: 200, body: `broken`}, []string{"x"}, "read the answer of"},
		{fakeAdmin{}, nil, "edge: error: drain wants the IDs or names of containers\nedge: hint: docker compose ps"},
		{fakeAdmin{}, []string{"x", "--wait", "-1s"}, "a duration can't be negative"},
		{fakeAdmin{}, []string{"x", "--undo", "--wait", "1s"}, "there is nothing to wait for"},
	} {
		if _, stderr, err := runDrainCommand(t, &c.admin, c.args...); err == nil || !strings.Contains(stderr, c.want) {
			t.Errorf("%v: %v, printed %q, want %q", c.args, err, stderr, c.want)
		}
	}
}

func TestWaitIdleEndsWhenIdleOrAtTimeout(t *testing.T) {
	drained := []registry.DrainStatus{{Service: "api:80", EndpointStatus: registry.EndpointStatus{ID: "abc"}}}
	services := func(inFlight, sockets int) []registry.ServiceStatus {
		return []registry.ServiceStatus{{Service: "api:80", Endpoints: []registry.EndpointStatus{
			{ID: "abc", InFlight: inFlight, Sockets: sockets}, {ID: "other", InFlight: 1},
		}}}
	}
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		err := waitIdle(t.Context(), drained, 0, time.Minute, func() ([]registry.ServiceStatus, error) {
			if time.Since(began) < 3*time.Second {
				return services(1, 0), nil
			}
			return services(0, 0), nil
		})
		if took := time.Since(began); err != nil || took < 3*time.Second || took > 4*time.Second {
			t.Errorf("%v after %s", err, took)
		}
	})
	synctest.Test(t, func(t *testing.T) {
		err := waitIdle(t.Context(), drained, 0, time.Minute, func() ([]registry.ServiceStatus, error) { return services(0, 2), nil })
		if err == nil || err.Error() != "still under way after 1m0s: api:80 on abc (in flight: 0, sockets: 2)" {
			t.Error(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		err = waitIdle(ctx, drained, 0, time.Minute, func() ([]registry.ServiceStatus, error) { return services(1, 0), nil })
		if err == nil || !strings.Contains(err.Error(), "interrupted; still under way: api:80") {
			t.Error(err)
		}
	})
	synctest.Test(t, func(t *testing.T) { // other edges still send requests
		idle := func() ([]registry.ServiceStatus, error) { return services(0, 0), nil }
		began := time.Now()
		if err := waitIdle(t.Context(), drained, 2*time.Second, time.Minute, idle); err != nil || time.Since(began) < 2*time.Second || time.Since(began) > 3*time.Second {
			t.Errorf("%v after %s, want 2s", err, time.Since(began))
		}
		err := waitIdle(t.Context(), drained, 2*time.Second, time.Second, idle)
		if err == nil || err.Error() != "still under way after 1s: requests of other edges, which drain within 2s" {
			t.Error(err)
		}
	})
	gone := errors.New("connection refused")
	if err := waitIdle(t.Context(), drained, 0, time.Minute, func() ([]registry.ServiceStatus, error) { return nil, gone }); !errors.Is(err, gone) {
		t.Error(err)
	}
}
