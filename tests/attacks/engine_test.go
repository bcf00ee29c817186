package attacks

import (
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/theworklabs/edge/internal/registry"
)

// TestMalformedEngineAnswersDoNoHarm runs an edge whose Docker Engine answers what no Docker Engine answers. The edge goes on to
// serve the services that it knows, sends nothing to addresses outside of its own networks, and stays within its memory limit.
func TestMalformedEngineAnswersDoNoHarm(t *testing.T) {
	t.Parallel()
	var answered atomic.Int64
	engine := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		defer func() { _ = recover() }() // the edge may close the connection in the middle of an answer
		switch {
		case strings.HasSuffix(r.URL.Path, "/_ping"):
			w.Header().Set("Api-Version", "1.41")
			w.WriteHeader(http.StatusOK)
		default: // a list or events
			writeMalformed(w, malformedAnswers[int(answered.Add(1))%len(malformedAnswers)])
		}
	}))
	defer engine.Close()
	e, err := startEdge(filepath.Join(t.TempDir(), "edge"), func(config map[string]any) {
		app := config["apps"].(map[string]any)["edge"].(map[string]any)
		app["docker_host"] = "tcp://" + engine.Listener.Addr().String()
		delete(app["static"].(map[string][]string), "corteza-docs:80")
	})
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := e.stop(); err != nil {
			t.Error(err)
		}
	}()
	before, err := e.resourceUsage()
	if err != nil {
		t.Fatal(err)
	}
	const enough = 20 // lists and streams of events; each of malformedAnswers is among them
	peak := before
	for deadline := time.Now().Add(90 * time.Second); answered.Load() < enough && time.Now().Before(deadline); {
		answers, err := e.send("accounting.localhost", "GET /api/ready HTTP/1.1\r\nHost: accounting.localhost\r\nConnection: close\r\n\r\n")
		if err != nil || len(answers) != 1 || answers[0].StatusCode != http.StatusOK {
			t.Fatalf("after %d malformed answers: %s", answered.Load(), describeAnswers(answers, err))
		}
		now, err := e.resourceUsage()
		if err != nil {
			t.Fatal(err)
		}
		peak.memory, peak.goroutines = max(peak.memory, now.memory), max(peak.goroutines, now.goroutines)
		time.Sleep(50 * time.Millisecond)
	}
	t.Logf("ATTACK malformed answers of the Docker Engine | %d lists and streams of events | edge: %s before, %s at the peak", answered.Load(), before, peak)
	if answered.Load() < enough {
		t.Errorf("the edge has made only %d requests, want %d", answered.Load(), enough)
	}
	if peak.memory > 460 {
		t.Errorf("the edge takes %d MiB, want at most 460", peak.memory)
	}
	// None of the addresses that the Docker Engine has named for corteza-docs is on a network of the edge.
	resp, err := e.admin.Get("http://localhost/edge/services")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	var services []registry.ServiceStatus
	if err := json.NewDecoder(resp.Body).Decode(&services); err != nil {
		t.Fatal(err)
	}
	for _, s := range services {
		if s.Service == "corteza-docs:80" && len(s.Endpoints) > 0 {
			t.Errorf("the edge accepts %s for %s", s.Endpoints[0].Address, s.Service)
		}
	}
}

// malformedAnswers write answers, whatever the request is.
var malformedAnswers = []func(w io.Writer){
	func(w io.Writer) { fmt.Fprint(w, "<html>no</html>") },
	func(w io.Writer) { fmt.Fprint(w, `{"message": 1}`) },
	func(w io.Writer) { fmt.Fprint(w, `[null, 1, "x", {}, [], {"Id": null, "Names": {}, "Labels": [1]}]`) },
	func(w io.Writer) { fmt.Fprint(w, strings.Repeat("[", 100_000)) },
	func(w io.Writer) { fmt.Fprint(w, strings.Repeat(`{"a":`, 100_000)) },
	func(w io.Writer) { // without an end
		for range 1 << 16 {
			if _, err := w.Write(make([]byte, 64<<10)); err != nil {
				return
			}
		}
	},
	func(w io.Writer) { // a string without an end
		fmt.Fprint(w, `[{"Id": "`)
		filler := strings.Repeat("x", 64<<10)
		for range 1 << 16 {
			if _, err := io.WriteString(w, filler); err != nil {
				return
			}
		}
	},
	func(w io.Writer) { // a list of containers without an end
		fmt.Fprint(w, "[")
		for i := range 1 << 22 {
			if _, err := fmt.Fprintf(w, `{"Id": "%064d", "Names": ["/corteza-docs"], "State": "running", "Labels": {}},`, i); err != nil {
				return
			}
		}
	},
	func(w io.Writer) { // addresses that no container has
		for _, address := range []string{"169.254.169.254", "0.0.0.0", "255.255.255.255", "::", "224.0.0.1", "x", "", "127.0.0.1\u0000", "10.1.2.3/8"} {
			fmt.Fprintf(w, `[{"Id": "%064d", "Names": ["/corteza-docs"], "State": "running", "Labels": {"com.docker.compose.service": "corteza-docs"},
				"NetworkSettings": {"Networks": {"n": {"IPAddress": %q, "GlobalIPv6Address": %q}}}}]`, rand.Int64(), address, address)
		}
	},
	func(w io.Writer) { // events without a type, with wrong types and with numbers that are too large
		for _, event := range []string{
			`{}`, `null`, `[]`, `{"Type": "container", "Action": "kill", "Actor": {"ID": "x", "Attributes": {"signal": "99999999999999999999"}}}`,
			`{"Type": "container", "Action": "die", "timeNano": -9223372036854775808}`, `{"Type": "container", "Action": "start", "timeNano": 9223372036854775807}`,
			`{"Type": 1}`,
		} {
			fmt.Fprintln(w, event)
		}
	},
	func(io.Writer) {},
	func(io.Writer) { time.Sleep(6 * time.Second) }, // longer than the edge waits
	func(io.Writer) { panic(http.ErrAbortHandler) },
}

// writeMalformed writes an answer, every fourth time with an unexpected status.
func writeMalformed(w http.ResponseWriter, answer func(io.Writer)) {
	w.Header().Set("Content-Type", "application/json")
	if rand.IntN(4) == 0 {
		w.WriteHeader([]int{http.StatusInternalServerError, http.StatusForbidden, http.StatusNoContent, http.StatusMultipleChoices}[rand.IntN(4)])
	}
	answer(w)
}
