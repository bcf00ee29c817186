package observability

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/theworklabs/edge/tests/harness"
)

// pickyStore takes bulk requests, and refuses some documents, as Elasticsearch does, which is not available to the tests.
type pickyStore struct {
	mu       sync.Mutex
	stored   map[string]map[string]any // by the ID
	posts    int
	noRoom   bool // for any document
	noMemory bool // for any request
	refusals int  // for lack of room
}

// ServeHTTP implements [http.Handler].
func (s *pickyStore) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "application/json")
	if r.Method != http.MethodPost {
		_, _ = io.WriteString(w, "{}")
		return
	}
	type result struct {
		ID     string            `json:"_id"`
		Status int               `json:"status"`
		Error  map[string]string `json:"error,omitempty"`
	}
	answer := struct {
		Errors bool                `json:"errors"`
		Items  []map[string]result `json:"items"`
	}{}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.posts++
	if s.noMemory {
		w.WriteHeader(http.StatusTooManyRequests)
		_, _ = io.WriteString(w, `{"error":{"type":"circuit_breaking_exception","reason":"data too large"},"status":429}`)
		return
	}
	for d := json.NewDecoder(r.Body); ; {
		var action map[string]result
		var document map[string]any
		if d.Decode(&action) != nil || d.Decode(&document) != nil {
			break
		}
		item := result{ID: action["create"].ID, Status: http.StatusCreated}
		message, _ := document["message"].(string)
		switch {
		case document["error"] != nil || strings.Contains(message, "never"):
			item.Status, item.Error = http.StatusBadRequest, map[string]string{"type": "document_parsing_exception", "reason": "object mapping for [error] tried to parse field [error] as object"}
		case s.noRoom:
			s.refusals++
			item.Status, item.Error = http.StatusTooManyRequests, map[string]string{"type": "es_rejected_execution_exception", "reason": "no room"}
		case s.stored[item.ID] != nil:
			item.Status, item.Error = http.StatusConflict, map[string]string{"type": "version_conflict_engine_exception", "reason": "it exists"}
		default:
			s.stored[item.ID] = document
		}
		answer.Errors = answer.Errors || item.Error != nil
		answer.Items = append(answer.Items, map[string]result{"create": item})
	}
	_ = json.NewEncoder(w).Encode(answer)
}

// set changes the store.
func (s *pickyStore) set(change func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	change()
}

// counts returns how many documents are stored, how many were refused for lack of room, and how many requests there were.
func (s *pickyStore) counts() (stored, refusals, posts int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.stored), s.refusals, s.posts
}

// find returns the document whose message contains a text.
func (s *pickyStore) find(text string) map[string]any {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, document := range s.stored {
		if message, _ := document["message"].(string); strings.Contains(message, text) {
			return document
		}
	}
	return nil
}

// dockerLine returns a line as Docker writes it.
func dockerLine(t *testing.T, log string) string {
	t.Helper()
	line, err := json.Marshal(map[string]any{
		"log": log + "\n", "stream": "stdout", "time": "2026-11-30T05:00:00.1Z", "attrs": map[string]string{"com.docker.compose.service": "web", "com.docker.compose.project": "shop"},
	})
	if err != nil {
		t.Fatal(err)
	}
	return string(line) + "\n"
}

// ship starts the log shipper, which reads a file of a container's lines and writes to a store. output returns what it has printed.
func ship(t *testing.T, config string, store http.Handler, lines string) (file string, output func() string) {
	t.Helper()
	server := httptest.NewServer(store) // on loopback, which the shipper shares
	t.Cleanup(server.Close)
	dir, id := t.TempDir(), strings.Repeat("a", 64)
	if err := os.Mkdir(filepath.Join(dir, id), 0o755); err != nil {
		t.Fatal(err)
	}
	file = filepath.Join(dir, id, id+"-json.log")
	if err := os.WriteFile(file, []byte(lines), 0o644); err != nil {
		t.Fatal(err)
	}
	const name = "edge-test-refused"
	_, _ = harness.RunDocker(t.Context(), "rm", "--force", "--volumes", name) // of a run that was interrupted
	harness.MustDocker(t, "run", "--detach", "--name", name, "--network", "host", "--env", "LOG_STORE="+server.URL, "--volume", config+":/etc/rsyslog.conf:ro",
		"--volume", dir+":/var/lib/docker/containers:ro", "--tmpfs", "/var/spool/rsyslog", "--tmpfs", "/run", "edge-test/observability:test", "rsyslogd", "-n")
	output = func() string {
		out, _ := harness.RunDocker(context.Background(), "logs", name) // an error is shown as missing text
		return out
	}
	t.Cleanup(func() {
		if t.Failed() {
			out := output()
			t.Log(out[max(0, len(out)-4000):])
		}
		harness.MustDocker(t, "rm", "--force", "--volumes", name)
	})
	return file, output
}

// TestLostLinesAreCounted: those for which neither the store nor the shipper has room. With the shipped size, that takes 64 MiB of them.
func TestLostLinesAreCounted(t *testing.T) {
	shipped, err := os.ReadFile(harness.Root() + "/observability/rsyslog.conf")
	if err != nil {
		t.Fatal(err)
	}
	const size = `queue.size="10000" queue.filename="refused" queue.maxDiskSpace="64m" queue.saveOnShutdown="on"`
	small := strings.NewReplacer(size, `queue.size="100"`, `interval="60"`, `interval="2"`).Replace(string(shipped))
	config := filepath.Join(t.TempDir(), "rsyslog.conf")
	if err := os.WriteFile(config, []byte(small), 0o644); err != nil || !strings.Contains(string(shipped), size) {
		t.Fatalf("%v, or the shipped configuration has another size", err)
	}
	var lines strings.Builder
	for i := range 3000 {
		lines.WriteString(dockerLine(t, fmt.Sprintf("line %d", i)))
	}
	_, output := ship(t, config, &pickyStore{stored: make(map[string]map[string]any), noRoom: true}, lines.String())
	harness.Eventually(t, "the shipper says that lines were lost", func() bool {
		return regexp.MustCompile(`lines were lost, .*"discarded.full": [1-9]`).MatchString(output())
	})
}

// TestWhatTheStoreRefusesIsKept: a line whose field contradicts the mapping is stored as text, those for which there is no room are sent again, and what can't be stored
// at all is in the shipper's output.
func TestWhatTheStoreRefusesIsKept(t *testing.T) {
	store := &pickyStore{stored: make(map[string]map[string]any), noRoom: true}
	const many = 6000 // more than wait in the shipper's memory
	var lines strings.Builder
	for i := range many {
		lines.WriteString(dockerLine(t, fmt.Sprintf("line %d", i)))
	}
	for _, log := range []string{
		`{"@timestamp":"2026-01-02T03:04:05Z","ecs.version":"8.17.0","message":"good"}`,
		`{"@timestamp":"2026-01-02T03:04:05Z","ecs.version":"8.17.0","message":"contradicts","error":"a text"}`,
		`{"@timestamp":"2026-01-02T03:04:05Z","ecs.version":"8.17.0","message":"never"}`,
	} {
		lines.WriteString(dockerLine(t, log))
	}
	file, output := ship(t, harness.Root()+"/observability/rsyslog.conf", store, lines.String())
	id := filepath.Base(filepath.Dir(file))
	harness.Eventually(t, "documents are sent again while there is no room", func() bool {
		_, refusals, _ := store.counts()
		return refusals > many+many/2
	})
	store.set(func() { store.noRoom = false })
	const want = many + 2
	harness.Eventually(t, "all lines but one are stored", func() bool {
		stored, _, _ := store.counts()
		return stored == want
	})
	if got := store.find("good"); got["@timestamp"] != "2026-01-02T03:04:05Z" || got["tags"] != nil {
		t.Errorf("a line that was taken later: %v", got)
	}
	got := store.find("contradicts")
	if message, _ := got["message"].(string); !strings.Contains(message, `"error": "a text"`) || got["tags"] != "refused" || !strings.Contains(fmt.Sprint(got["error.message"]), "object mapping for [error]") ||
		got["container.labels.service"] != "web" || got["container.id"] != id || got["@timestamp"] != "2026-11-30T05:00:00.1Z" {
		t.Errorf("a line that was refused: %v", got)
	}
	const lost = "the log store refuses a line: document_parsing_exception"
	harness.Eventually(t, "the shipper prints what can't be stored", func() bool {
		out := output()
		return strings.Contains(out, lost) && strings.Contains(out, "never")
	})
	if n := strings.Count(output(), lost); n != 1 {
		t.Errorf("the shipper has printed %d lines as lost, want 1", n)
	}
	_, _, posts := store.counts()
	time.Sleep(3 * time.Second) // nothing may be sent again for ever
	if stored, _, after := store.counts(); after != posts || stored != want {
		t.Errorf("%d more requests, %d documents; want no more, and %d", after-posts, stored, want)
	}

	store.set(func() { store.noMemory = true })
	appended, err := os.OpenFile(file, os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	_, err = appended.WriteString(dockerLine(t, "of a request that was refused"))
	if err := errors.Join(err, appended.Close()); err != nil {
		t.Fatal(err)
	}
	harness.Eventually(t, "the shipper prints the request that was refused", func() bool {
		return strings.Contains(output(), "of a request that was refused")
	})
}
