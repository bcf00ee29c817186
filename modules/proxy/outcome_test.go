package proxy_test

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

// metrics returns the lines of the metrics of a site that has `metrics /metrics`, by their series.
func (s *site) metrics(t *testing.T) map[string]string {
	t.Helper()
	_, text, _ := s.send(t, http.MethodGet, "/metrics", nil)
	series := make(map[string]string)
	for line := range strings.Lines(text) {
		if name, value, found := strings.Cut(strings.TrimSpace(line), "} "); found && strings.HasPrefix(name, "edge_") {
			series[name+"}"] = value
		}
	}
	return series
}

// TestRequestsHaveFigures: their number by class, how long they took, and how long each phase was.
func TestRequestsHaveFigures(t *testing.T) {
	a := newBackend(t, func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/slow":
			time.Sleep(60 * time.Millisecond)
		case "/missing":
			w.WriteHeader(http.StatusNotFound)
		case "/cut":
			panic(http.ErrAbortHandler)
		case "/endless":
			<-r.Context().Done()
		}
		fmt.Fprint(w, r.Header.Get("X-Request-Id"))
	})
	s := &site{static: map[string][]string{"api:80": {a.address}}, globalOptions: "\tmetrics"}
	s.start(t, "handle /metrics {\n metrics\n}\nhandle {\n edge_proxy api:80\n}")
	held := make(chan int, 1)
	go func() {
		status, _, _ := s.send(t, http.MethodGet, "/held", nil)
		held <- status
	}()
	eventuallyHeld(t, 1)
	time.Sleep(30 * time.Millisecond)
	a.start(t)
	if status := <-held; status != http.StatusOK {
		t.Fatalf("the held request got %d", status)
	}
	for _, r := range []struct {
		method, path string
		status       int
	}{
		{http.MethodGet, "/slow", 200},
		{http.MethodPost, "/", 200},
		{http.MethodPut, "/", 200},
		{http.MethodGet, "/missing", 404},
		{http.MethodPost, "/cut", 502},
		{"BREW", "/", 200},
	} {
		if status, _, _ := s.send(t, r.method, r.path, nil); status != r.status {
			t.Errorf("%s %s: got %d, want %d", r.method, r.path, status, r.status)
		}
	}
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, s.url+"/endless", nil)
	if err != nil {
		t.Fatal(err)
	}
	if resp, err := http.DefaultClient.Do(request); err == nil {
		resp.Body.Close()
		t.Error("the endless request ended")
	}
	want := map[string]string{
		`edge_requests_total{code_class="2xx",method_class="safe",service="api:80"}`:        "2",
		`edge_requests_total{code_class="2xx",method_class="idempotent",service="api:80"}`:  "1",
		`edge_requests_total{code_class="2xx",method_class="other",service="api:80"}`:       "2",
		`edge_requests_total{code_class="4xx",method_class="safe",service="api:80"}`:        "2", // with the client that left
		`edge_requests_total{code_class="5xx",method_class="other",service="api:80"}`:       "1",
		`edge_requests_total{code_class="5xx",method_class="safe",service="api:80"}`:        "0",
		`edge_request_duration_seconds_count{code_class="2xx",service="api:80"}`:            "5",
		`edge_request_duration_seconds_bucket{code_class="2xx",service="api:80",le="+Inf"}`: "5",
		`edge_request_wait_seconds_count{phase="held",service="api:80"}`:                    "1",
		`edge_request_wait_seconds_bucket{phase="held",service="api:80",le="0.025"}`:        "0",
	}
	for name, value := range want {
		eventually(t, func() bool { return s.metrics(t)[name] == value }, name+" is "+s.metrics(t)[name]+", want "+value)
	}
}

// TestTheAccessLogSaysWhatHappened to a request: its service, endpoint and attempts, how long it was held, and its ID, which the application has, too.
func TestTheAccessLogSaysWhatHappened(t *testing.T) {
	a := newBackend(t, func(w http.ResponseWriter, r *http.Request) {
		time.Sleep(20 * time.Millisecond)
		fmt.Fprint(w, r.Header.Get("X-Request-Id"))
	}).start(t)
	file := filepath.Join(t.TempDir(), "access.log")
	s := serveReady(t, "log {\n output file "+file+"\n level INFO\n}\nedge_proxy api:80", a.address)
	_, id, _ := s.send(t, http.MethodGet, "/", nil)
	line := awaitLogLine(t, file)
	if len(id) != 36 || line["request_id"] != id || line["service"] != "api:80" || line["endpoint"] != a.address || line["attempts"] != 1.0 || line["held_ms"] != 0.0 {
		t.Errorf("the application got the ID %q, the line is %v", id, line)
	}
	if upstream, _ := line["upstream_ms"].(float64); upstream < 20 || upstream > 10_000 {
		t.Errorf("upstream_ms is %v", line["upstream_ms"])
	}

	if err := os.Truncate(file, 0); err != nil {
		t.Fatal(err)
	}
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, s.url, nil)
	if err != nil {
		t.Fatal(err)
	}
	request.Header.Set("X-Request-Id", "of-the-client")
	resp, err := http.DefaultClient.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if line := awaitLogLine(t, file); line["request_id"] != "of-the-client" {
		t.Errorf("the line is %v", line)
	}
}

// TestARequestHasOneID: for the application, in placeholders and in the log, whoever asks for it first, and for each exchange of the request.
func TestARequestHasOneID(t *testing.T) {
	var ids sync.Map
	a := newBackend(t, func(w http.ResponseWriter, r *http.Request) { ids.Store(r.Header.Get("X-Request-Id"), true) }).start(t)
	for name, directives := range map[string]string{
		"a placeholder afterwards": "edge_proxy api:80",
		"a placeholder before":     "request_header X-Early {http.request.uuid}\nedge_proxy api:80",
		"two exchanges":            "edge_proxy api:80 {\n @all status 200\n handle_response @all {\n  edge_proxy api:80\n }\n}",
		"a user's variable":        "vars uuid mine\nedge_proxy api:80",
		"another ID afterwards":    "edge_proxy api:80 {\n @all status 200\n handle_response @all {\n  request_header X-Request-Id other\n  edge_proxy api:80\n }\n}",
		"an error":                 "edge_proxy api:80 {\n @all status 200\n handle_response @all {\n  error 503\n }\n}\nhandle_errors {\n header X-Id {http.request.uuid}\n respond no\n}",
	} {
		t.Run(name, func(t *testing.T) {
			file := filepath.Join(t.TempDir(), "access.log")
			s := &site{static: map[string][]string{"api:80": {a.address}}}
			s.start(t, "log {\n output file "+file+"\n level INFO\n}\nheader >X-Id {http.request.uuid}\n"+directives)
			ids.Clear()
			var id string
			eventually(t, func() bool {
				_, _, header := s.send(t, http.MethodGet, "/", nil)
				id = header.Get("X-Id")
				_, isThere := ids.Load(id)
				return isThere
			}, "the application has the ID of the placeholder")
			var line string
			eventually(t, func() bool {
				text, _ := os.ReadFile(file)
				for l := range strings.Lines(string(text)) {
					if strings.Contains(l, id) {
						line = l
					}
				}
				return line != ""
			}, "the request is logged")
			requestID := id
			if name == "another ID afterwards" {
				requestID = "other"
			}
			if strings.Count(line, `"uuid":"`+id) != 1 || strings.Count(line, `"request_id":"`+requestID) != 1 || strings.Count(line, `"service"`) != 1 {
				t.Errorf("the ID is %s, the line %s", id, line)
			}
			s.send(t, http.MethodGet, "/", nil)
			n := 0
			ids.Range(func(_, _ any) bool { n++; return true })
			if n < 2 {
				t.Errorf("%d requests have different IDs, want 2 at least", n)
			}
		})
	}
}
