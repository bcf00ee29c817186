package demo_test

import (
	"bufio"
	"net/http"
	"strings"
	"testing"
)

func TestHealthIsServedAtBothPaths(t *testing.T) {
	s := startDemo(t)
	for _, path := range []string{"/api/system_db", "/api/health"} {
		if got := s.get(s.url("bigcapital-server:3000", 0, path)); got.status != 200 || got.body != `{"status":"ok"}` {
			t.Errorf("%s: %d %s", path, got.status, got.body)
		}
	}
}

func TestUnknownPathsReturnJSON404(t *testing.T) {
	s := startDemo(t)
	for _, target := range []string{"GET /api/nothing", "DELETE /api/accounts", "GET /api", "GET /", "GET /api/queues"} {
		method, path, _ := strings.Cut(target, " ")
		got := s.do(method, s.url("bigcapital-server:3000", 0, path), "")
		want := `{"error":"Not Found","message":"Cannot ` + target + `","statusCode":404}`
		if got.status != 404 || got.body != want || !strings.HasPrefix(got.header.Get("Content-Type"), "application/json") {
			t.Errorf("%s: %d %s", target, got.status, got.body)
		}
	}
}

func TestEventsAreFlushedOneByOne(t *testing.T) {
	s := startDemo(t)
	r, err := http.NewRequestWithContext(t.Context(), "GET", s.url("bigcapital-server:3000", 1, "/api/events"), nil)
	if err != nil {
		t.Fatal(err)
	}
	response, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	if got := response.Header.Get("Content-Type"); got != "text/event-stream" {
		t.Errorf("Content-Type: %s", got)
	}
	lines := bufio.NewScanner(response.Body)
	for _, want := range []string{"id: 1", "event: pulse", `data: {"server":"bigcapital-server-2","time":"`, "", "id: 2"} {
		if !lines.Scan() || !strings.HasPrefix(lines.Text(), want) {
			t.Fatalf("got %q, want %q", lines.Text(), want)
		}
	}
}
