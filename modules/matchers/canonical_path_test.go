package matchers

import (
	"context"
	"net/http"
	"net/url"
	"testing"

	"github.com/caddyserver/caddy/v2"
)

func TestPathMatchesInEverySpelling(t *testing.T) {
	m := AnySpelling{"/api/queues", "/api/queues/*", "/console*"}
	if err := m.Provision(caddy.Context{}); err != nil {
		t.Fatal(err)
	}
	for target, want := range map[string]bool{
		"/api/queues": true, "/API/Queues/x": true, "/api//queues": true, "/api/%71ueues": true, "/api/%2571ueues": true,
		`/api/\queues`: true, "/api/%5cqueues": true, "/api/queues;a=b": true, "/api/;/queues": true, "/api/queues%20": true,
		"/api/queues.": true, "/api/queues%00": true, "/console;x": true, "/x/%2e%2e/api/queues": true,
		"/api/queue": false, "/api/queuesx": false, "/api/x;y": false, "/api/%2571ueue": false, "/api/50%25/queues": false,
		"/api/queues/..": false, // this is /api
		"/":              false, "/api/a.b/c d": false, "/%25": false,
	} {
		u, err := url.ParseRequestURI(target)
		if err != nil {
			t.Fatal(err)
		}
		r := (&http.Request{Method: http.MethodGet, URL: u, Header: http.Header{}}).WithContext(
			context.WithValue(t.Context(), caddy.ReplacerCtxKey, caddy.NewReplacer()))
		got, err := m.MatchWithError(r)
		if err != nil || got != want {
			t.Errorf("%s: got %t %v, want %t", target, got, err, want)
		}
		if r.URL != u || r.URL.Path != u.Path {
			t.Errorf("%s: the matcher changed the request", target)
		}
	}
}
