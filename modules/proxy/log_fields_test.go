package proxy_test

import (
	"encoding/json"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestEachEntryNamesItsRequest: what the edge logs of a request, that of the access log and each of its errors, has the service, the container, what the request took,
// and the IDs by which the application's and the trace's are found.
func TestEachEntryNamesItsRequest(t *testing.T) {
	newReceiver(t)
	b := newBackend(t, func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/part":
			w.Header().Set("Content-Length", "100")
			_, _ = w.Write(make([]byte, 50))
			_ = http.NewResponseController(w).Flush()
			panic(http.ErrAbortHandler)
		case "/gone":
			panic(http.ErrAbortHandler)
		}
	}).start(t)
	log := filepath.Join(t.TempDir(), "log")
	s := &site{static: map[string][]string{"api:80": {b.address}, "none:80": {"127.0.0.1:1"}}, logLevel: "INFO", logOptions: "\t\toutput file " + log + "\n"}
	s.start(t, "log\ntracing {\n span site\n}\nhandle /refused {\n edge_proxy none:80 {\n hold 100ms\n}\n}\nhandle {\n edge_proxy api:80\n}")
	s.eventuallyResponds(t, "/", "")
	for path, method := range map[string]string{"/whole": http.MethodGet, "/part": http.MethodGet, "/gone": http.MethodPost, "/refused": http.MethodGet} {
		req, err := http.NewRequestWithContext(t.Context(), method, s.url+path, nil)
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Traceparent", clientParent)
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		_, _ = io.Copy(io.Discard, resp.Body) // one is incomplete
		resp.Body.Close()
	}
	stopCaddy(t)
	text, err := os.ReadFile(log)
	if err != nil {
		t.Fatal(err)
	}
	wanted := map[string]string{ // a message, and the path of its request
		"handled request": "/whole", "a response was incomplete": "/part", "a request was not answered": "/gone", "requests are refused": "/refused",
	}
	for line := range strings.Lines(string(text)) {
		var entry map[string]any
		if err := json.Unmarshal([]byte(line), &entry); err != nil {
			t.Fatalf("%v: %s", err, line)
		}
		message, _ := entry["msg"].(string)
		if path := wanted[message]; path == "" || !strings.Contains(line, `"`+path+`"`) {
			continue
		}
		isRefused := message == "requests are refused"
		delete(wanted, message)
		for _, name := range []string{"attempts", "held_ms", "upstream_ms"} {
			if _, ok := entry[name].(float64); !ok {
				t.Errorf("%q has no %s:\n%s", message, name, line)
			}
		}
		if entry["attempts"] != 1.0 != isRefused || isRefused && entry["held_ms"].(float64) < 50 {
			t.Errorf("%q has %v attempts, and was held for %v ms", message, entry["attempts"], entry["held_ms"])
		}
		service, endpoint := "api:80", b.address
		if isRefused {
			service, endpoint = "none:80", ""
		}
		if got, _ := entry["endpoint"].(string); entry["service"] != service || got != endpoint {
			t.Errorf("%q is of %v at %v, want %s at %s", message, entry["service"], got, service, endpoint)
		}
		if id, _ := entry["request_id"].(string); len(id) < 16 || entry["traceID"] != clientTrace {
			t.Errorf("%q has the request ID %v and the trace ID %v", message, entry["request_id"], entry["traceID"])
		}
	}
	for message := range wanted {
		t.Errorf("the log has no %q:\n%s", message, text)
	}
}
