package observability

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/theworklabs/edge/tests/harness"
)

// pickyStore takes bulk requests, and refuses some documents, as Elasticsearch does. It cannot be had here.
type pickyStore struct {
	mu     sync.Mutex
	stored map[string]map[string]any // by the ID
	busy   int                       // refusals for lack of room that are left
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
	for d := json.NewDecoder(r.Body); ; {
		var action map[string]result
		var document map[string]any
		if d.Decode(&action) != nil || d.Decode(&document) != nil {
			break
		}
		item := result{ID: action["create"].ID, Status: http.StatusCreated}
		message, _ := document["message"].(string)
		switch {
		case document["bytes"] != nil || strings.Contains(message, "never"):
			item.Status, item.Error = http.StatusBadRequest, map[string]string{"type": "document_parsing_exception", "reason": "failed to parse field [bytes]"}
		case message == "later" && s.busy > 0:
			s.busy--
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

// TestWhatTheStoreRefusesIsKept: a line whose field contradicts the mapping is stored as text, one for which there is no room is sent again, and one that can't be stored
// at all is in the shipper's output.
func TestWhatTheStoreRefusesIsKept(t *testing.T) {
	store := &pickyStore{stored: make(map[string]map[string]any), busy: 2}
	server := httptest.NewServer(store) // on loopback, which the shipper shares
	defer server.Close()
	dir, id := t.TempDir(), strings.Repeat("a", 64)
	var lines strings.Builder
	for _, log := range []string{
		"plain", `{"@timestamp":"2026-01-02T03:04:05Z","ecs.version":"8.17.0","message":"good"}`,
		`{"@timestamp":"2026-01-02T03:04:05Z","ecs.version":"8.17.0","message":"contradicts","bytes":"many"}`,
		`{"@timestamp":"2026-01-02T03:04:05Z","ecs.version":"8.17.0","message":"later"}`,
		`{"@timestamp":"2026-01-02T03:04:05Z","ecs.version":"8.17.0","message":"never"}`,
	} {
		line, err := json.Marshal(map[string]any{
			"log": log + "\n", "stream": "stdout", "time": "2026-11-30T05:00:00.1Z", "attrs": map[string]string{"com.docker.compose.service": "web", "com.docker.compose.project": "shop"},
		})
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(&lines, "%s\n", line)
	}
	if err := os.Mkdir(filepath.Join(dir, id), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, id, id+"-json.log"), []byte(lines.String()), 0o644); err != nil {
		t.Fatal(err)
	}
	name := "edge-test-refused"
	harness.MustDocker(t, "run", "--detach", "--name", name, "--network", "host", "--env", "LOG_STORE="+server.URL, "--volume", harness.Root()+"/observability/rsyslog.conf:/etc/rsyslog.conf:ro",
		"--volume", dir+":/var/lib/docker/containers:ro", "--tmpfs", "/var/spool/rsyslog", "--tmpfs", "/run", "edge-test/observability:test", "rsyslogd", "-n")
	t.Cleanup(func() {
		if t.Failed() {
			out, _ := harness.RunDocker(context.Background(), "logs", name)
			t.Log(out)
		}
		harness.MustDocker(t, "rm", "--force", "--volumes", name)
	})
	harness.EventuallyWithin(t, 30*time.Second, "all lines but one are stored", func() bool {
		for _, text := range []string{"plain", "good", "contradicts", "later"} {
			if store.find(text) == nil {
				return false
			}
		}
		return true
	})
	if got := store.find("good"); got["@timestamp"] != "2026-01-02T03:04:05Z" || got["tags"] != nil {
		t.Errorf("a line that was taken: %v", got)
	}
	if got := store.find("later"); got["@timestamp"] != "2026-01-02T03:04:05Z" || got["tags"] != nil {
		t.Errorf("a line that was taken later: %v", got)
	}
	got := store.find("contradicts")
	if message, _ := got["message"].(string); !strings.Contains(message, `"bytes": "many"`) || got["tags"] != "refused" || got["error.message"] != "failed to parse field [bytes]" ||
		got["container.labels.service"] != "web" || got["container.id"] != id || got["@timestamp"] != "2026-11-30T05:00:00.1Z" {
		t.Errorf("a line that was refused: %v", got)
	}
	harness.Eventually(t, "the shipper prints what can't be stored", func() bool {
		out, err := harness.RunDocker(t.Context(), "logs", name)
		return err == nil && strings.Contains(out, "the log store refuses a line: document_parsing_exception") && strings.Contains(out, "never")
	})
}
