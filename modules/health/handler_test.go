package health_test

import (
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/theworklabs/edge/internal/registry"
	"github.com/theworklabs/edge/modules/health"
	"github.com/theworklabs/edge/modules/listeners"
)

// healthResponse is a body in the format of the draft.
type healthResponse struct {
	Status string
	Output string
	Checks map[string][]struct {
		ComponentID, ComponentType, Status, ObservedValue, Output string
		Time                                                      time.Time
	}
}

func decodeResponse(t *testing.T, w *httptest.ResponseRecorder) (a healthResponse) {
	t.Helper()
	if err := json.Unmarshal(w.Body.Bytes(), &a); err != nil {
		t.Fatalf("%q: %v", w.Body, err)
	}
	return a
}

func TestBothPathsAnswerGetAndHead(t *testing.T) {
	w := newTestEdge(t, map[string][]string{"api:80": {listen(t)}})
	w.eventuallyReady("api:80")
	h := w.handler()
	for _, path := range []string{"/health", "/health/", "/health/ready", "/health/ready/"} {
		for method, want := range map[string]int{
			http.MethodGet: 200, http.MethodHead: 200, http.MethodPost: 405, http.MethodPut: 405, http.MethodDelete: 405, http.MethodOptions: 405,
		} {
			got, passed := serve(t, h, method, path, "10.0.0.1")
			if got.Code != want || passed {
				t.Errorf("%s %s: %d, passed to the next handler: %v; want %d", method, path, got.Code, passed, want)
			}
			head := got.Header()
			if head.Get("Content-Type") != "application/health+json" || head.Get("Cache-Control") != "no-store" || head.Get("Retry-After") != "" {
				t.Errorf("%s %s: %v", method, path, head)
			}
			if allow := head.Get("Allow"); (want == 405) != (allow == "GET, HEAD") {
				t.Errorf("%s %s: Allow: %q", method, path, allow)
			}
			switch {
			case method != http.MethodGet && got.Body.Len() > 0:
				t.Errorf("%s %s has a body: %s", method, path, got.Body)
			case method == http.MethodGet && decodeResponse(t, got).Status != "pass":
				t.Errorf("%s %s: %s", method, path, got.Body)
			}
		}
	}
}

func TestOtherPathsPassThrough(t *testing.T) {
	h := newTestEdge(t, nil).handler()
	for _, path := range []string{
		"/", "/healthz", "/Health", "/health//", "/health/live", "/health/ready/x", "/health/READY", "/x/health", "/healthy/ready", "/health/ready//",
	} {
		for _, method := range []string{http.MethodGet, http.MethodHead, http.MethodPost} {
			got, passed := serve(t, h, method, path, "10.0.0.1")
			if !passed || got.Code != http.StatusTeapot || len(got.Header()) > 0 {
				t.Errorf("%s %s: passed to the next handler: %v, %d %v", method, path, passed, got.Code, got.Header())
			}
		}
	}
}

func TestEdgeIsReadyWhenEveryServiceIs(t *testing.T) {
	for name, c := range map[string]struct {
		static map[string][]string
		others []string
		output string // "": it is
	}{
		"no service":             {nil, nil, ""},
		"all of them":            {map[string][]string{"api:80": {listen(t)}, "app:80": {listen(t)}}, nil, ""},
		"one endpoint is enough": {map[string][]string{"api:80": {listen(t), closedAddress}}, nil, ""},
		"one of two":             {map[string][]string{"api:80": {listen(t)}, "app:80": {closedAddress}}, nil, "services without a ready endpoint: 1 of 2"},
		"none":                   {map[string][]string{"api:80": {closedAddress}, "app:80": {closedAddress}}, nil, "services without a ready endpoint: 2 of 2"},
		"one that is not found":  {map[string][]string{"api:80": {listen(t)}}, []string{"app:80"}, "services without a ready endpoint: 1 of 2"},
	} {
		t.Run(name, func(t *testing.T) {
			w := newTestEdge(t, c.static, c.others...)
			for service, addrs := range c.static {
				if addrs[0] != closedAddress {
					w.eventuallyReady(service)
				}
			}
			h := w.handler()
			want, status, retry := http.StatusOK, "pass", ""
			if c.output != "" {
				want, status, retry = http.StatusServiceUnavailable, "fail", "5"
			}
			for _, client := range []string{"10.0.0.1", "198.51.100.1"} {
				got, _ := serve(t, h, http.MethodGet, "/health/ready", client)
				if a := decodeResponse(t, got); got.Code != want || a.Status != status || a.Output != c.output || got.Header().Get("Retry-After") != retry {
					t.Errorf("%s got %d %v %s, want %d", client, got.Code, got.Header(), got.Body, want)
				}
				head, _ := serve(t, h, http.MethodHead, "/health/ready", client)
				if head.Code != want || head.Body.Len() > 0 || head.Header().Get("Retry-After") != retry {
					t.Errorf("HEAD: %s got %d %v %q, want %d", client, head.Code, head.Header(), head.Body, want)
				}
			}
			got, _ := serve(t, h, http.MethodGet, "/health", "10.0.0.1")
			if a := decodeResponse(t, got); got.Code != http.StatusOK || a.Status != "pass" || a.Checks != nil {
				t.Errorf("/health: %d %s, want 200 whatever the state of the services", got.Code, got.Body)
			}
		})
	}
}

func TestDetailsNameEachEndpoint(t *testing.T) {
	good := listen(t)
	began := time.Now().Add(-time.Second)
	w := newTestEdgeWithResolver(t, nxdomainResolver(t), map[string][]string{"api:80": {good, closedAddress}}, "app:80")
	w.eventuallyReady("api:80")
	if err := w.acquire("app:80"); !errors.Is(err, registry.ErrUnknown) {
		t.Fatalf("app:80: %v, want ErrUnknown", err)
	}
	got, _ := serve(t, w.handler(), http.MethodGet, "/health/ready", "127.0.0.1")
	for _, key := range []string{`"checks":`, `"componentId":`, `"componentType":`, `"observedValue":`, `"time":`, `"output":`} {
		if !strings.Contains(got.Body.String(), key) {
			t.Errorf("the body lacks %s of the draft: %s", key, got.Body)
		}
	}
	checks := decodeResponse(t, got).Checks
	if len(checks) != 2 || len(checks["api:80:ready"]) != 2 || len(checks["app:80:ready"]) != 1 {
		t.Fatalf("got %s, want both endpoints of api:80, and app:80 without any", got.Body)
	}
	for _, c := range checks["api:80:ready"] {
		status, state := "pass", "ready"
		if c.ComponentID == closedAddress {
			status, state = "fail", "starting"
		} else if c.ComponentID != good {
			t.Errorf("%s is no endpoint of api:80", c.ComponentID)
		}
		if c.Status != status || c.ObservedValue != state || (c.Output == "") != (status == "pass") {
			t.Errorf("%s: %+v, want %s", c.ComponentID, c, state)
		}
	}
	if c := checks["app:80:ready"][0]; c.Status != "fail" || c.ObservedValue != "none" || c.Output != "no container is known" || c.ComponentID != "" {
		t.Errorf("app:80: %+v", c)
	}
	for name, all := range checks {
		for _, c := range all {
			if c.ComponentType != "system" || c.Time.Before(began) || c.Time.After(time.Now()) {
				t.Errorf("%s: %+v", name, c)
			}
		}
	}
}

func TestDetailsShowServiceNotLookedUpYet(t *testing.T) {
	got, _ := serve(t, newTestEdge(t, nil, "app:80").handler(), http.MethodGet, "/health/ready", "127.0.0.1")
	if all := decodeResponse(t, got).Checks["app:80:ready"]; len(all) != 1 || all[0].Output != "not looked for yet" {
		t.Errorf("got %s", got.Body)
	}
}

func TestDetailsAreForClientsInTheRanges(t *testing.T) {
	good := listen(t)
	w := newTestEdge(t, map[string][]string{"api:80": {good}})
	w.eventuallyReady("api:80")
	for _, c := range []struct {
		ranges  string
		allowed string
		others  string
	}{
		{
			"",
			"10.0.0.1 10.255.255.255 172.16.0.1 172.31.255.255 192.168.1.1 127.0.0.1 127.8.8.8 ::1 fd00::1 fdff::1 ::ffff:10.0.0.1 fd00::1%eth0",
			"8.8.8.8 11.0.0.1 172.15.255.255 172.32.0.1 192.169.0.1 128.0.0.1 ::2 fc00::1 fe80::1 2001:db8::1 ::ffff:8.8.8.8 0.0.0.0 - garbage 10.0.0.1:80",
		},
		{"private_ranges", "10.0.0.1 ::1", "8.8.8.8 -"},
		{"none", "", "10.0.0.1 127.0.0.1 ::1 8.8.8.8 0.0.0.0 -"},
		{"203.0.113.0/24", "203.0.113.0 203.0.113.255 ::ffff:203.0.113.9", "203.0.112.255 203.0.114.0 10.0.0.1 127.0.0.1 -"},
		{"203.0.113.7/24", "203.0.113.200", "203.0.114.7"}, // the range that contains the address
		{"203.0.113.7 2001:db8::7", "203.0.113.7 2001:db8::7", "203.0.113.6 203.0.113.8 2001:db8::8 127.0.0.1 -"},
		{"private_ranges 2001:db8::/32", "10.0.0.1 2001:db8:ffff::1", "2001:db9::1 8.8.8.8"},
		{"0.0.0.0/0", "8.8.8.8", "2001:db8::1 -"},
	} {
		h := w.handler(strings.Fields(c.ranges)...)
		for _, client := range strings.Fields(c.allowed) {
			if got, _ := serve(t, h, http.MethodGet, "/health/ready", client); len(decodeResponse(t, got).Checks) != 1 || !strings.Contains(got.Body.String(), good) {
				t.Errorf("details_for %s: %s gets %s, want the endpoint", c.ranges, client, got.Body)
			}
		}
		for _, client := range strings.Fields(c.others) {
			got, _ := serve(t, h, http.MethodGet, "/health/ready", strings.TrimPrefix(client, "-"))
			if body := got.Body.String(); strings.TrimSpace(body) != `{"status":"pass"}` {
				t.Errorf("details_for %s: %s gets %s, want the status alone", c.ranges, client, body)
			}
		}
	}
}

func TestInvalidRangesFailAtLoad(t *testing.T) {
	w := newTestEdge(t, nil)
	for _, bad := range []string{"", "10.0.0.0/33", "10.0.0", "localhost", "private", "None", "10.0.0.0/8,::1", "10.0.0.0 / 8"} {
		err := (&health.Handler{DetailsFor: []string{"10.0.0.0/8", bad}}).Provision(w.ctx)
		if err == nil || !strings.Contains(err.Error(), `"`+bad+`"`) || !strings.Contains(err.Error(), "private_ranges") {
			t.Errorf("%q: got %v, want an error that names it and the valid values", bad, err)
		}
	}
}

func TestHealthFailsWhileTheEdgeLeaves(t *testing.T) {
	h := newTestEdge(t, nil).handler()
	listeners.BeginLeave()
	t.Cleanup(listeners.Stay)
	for _, path := range []string{"/health", "/health/ready"} {
		if got, _ := serve(t, h, http.MethodGet, path, "10.0.0.1"); got.Code != http.StatusServiceUnavailable || decodeResponse(t, got).Status != "fail" {
			t.Errorf("%s: got %d %s, want 503", path, got.Code, got.Body)
		}
	}
	listeners.Stay()
	if got, _ := serve(t, h, http.MethodGet, "/health", "10.0.0.1"); got.Code != http.StatusOK {
		t.Errorf("an edge that stays: got %d %s, want 200", got.Code, got.Body)
	}
}
