package demo_test

import (
	"encoding/json"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/theworklabs/edge/internal/demo"
)

// runningDemo is a running demo with the events that it has logged.
type runningDemo struct {
	*demo.Backends
	t *testing.T

	mu     sync.Mutex
	logs   []string
	logged chan struct{} // closed and replaced by each event
}

func startDemo(t *testing.T) *runningDemo {
	t.Helper()
	s := &runningDemo{t: t, logged: make(chan struct{})}
	backends, err := demo.Start(t.Context(), s.log)
	if err != nil {
		t.Fatal(err)
	}
	s.Backends = backends
	t.Cleanup(func() {
		if err := backends.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

func (s *runningDemo) log(service, event string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.logs = append(s.logs, service+": "+event)
	close(s.logged)
	s.logged = make(chan struct{})
}

// waitForLog waits until the event has been logged.
func (s *runningDemo) waitForLog(event string) {
	s.t.Helper()
	for {
		s.mu.Lock()
		found, logged := slices.Contains(s.logs, event), s.logged
		s.mu.Unlock()
		if found {
			return
		}
		select {
		case <-logged:
		case <-s.t.Context().Done():
			s.t.Fatalf("the event was never logged: %s", event)
		}
	}
}

// url returns the URL of a path on the nth server of a service.
func (s *runningDemo) url(service string, n int, path string) string {
	return "http://" + s.Endpoints()[service][n] + path
}

// httpResult is a response with its whole body.
type httpResult struct {
	status int
	header http.Header
	body   string
}

func (s *runningDemo) do(method, url, body string, header ...string) httpResult {
	s.t.Helper()
	r, err := http.NewRequestWithContext(s.t.Context(), method, url, strings.NewReader(body))
	if err != nil {
		s.t.Fatal(err)
	}
	for pair := range slices.Chunk(header, 2) {
		r.Header.Set(pair[0], pair[1])
	}
	response, err := http.DefaultClient.Do(r)
	if err != nil {
		s.t.Fatal(err)
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	if err != nil {
		s.t.Fatal(err)
	}
	return httpResult{response.StatusCode, response.Header, string(text)}
}

func (s *runningDemo) get(url string) httpResult {
	s.t.Helper()
	return s.do("GET", url, "")
}

// decode parses a JSON response.
func decode[T any](t *testing.T, result httpResult) (body T) {
	t.Helper()
	if err := json.Unmarshal([]byte(result.body), &body); err != nil {
		t.Fatalf("decode %d %s: %v", result.status, result.body, err)
	}
	return body
}
