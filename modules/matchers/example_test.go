package matchers_test

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"

	"github.com/caddyserver/caddy/v2"

	"github.com/theworklabs/edge/modules/matchers"
)

func ExampleAnySpelling() {
	blocked := matchers.AnySpelling{"/api/queues*"}
	if err := blocked.Provision(caddy.Context{}); err != nil {
		fmt.Println(err)
		return
	}
	for _, path := range []string{"/api/queues", "/api/%2571ueues", "/api/;/queues", `/api\queues`, "/api/items"} {
		r := httptest.NewRequest(http.MethodGet, path, nil)
		r = r.WithContext(context.WithValue(r.Context(), caddy.ReplacerCtxKey, caddy.NewReplacer()))
		matches, err := blocked.MatchWithError(r)
		fmt.Println(path, matches, err)
	}
	// Output:
	// /api/queues true <nil>
	// /api/%2571ueues true <nil>
	// /api/;/queues true <nil>
	// /api\queues true <nil>
	// /api/items false <nil>
}

func ExampleForeignOrigin() {
	foreign := matchers.ForeignOrigin{Allow: []string{"https://intranet.example.com"}}
	for _, origin := range []string{"https://crm.example.com", "https://intranet.example.com", "https://evil.example"} {
		r := httptest.NewRequest(http.MethodGet, "https://crm.example.com/live", nil)
		r.Header.Set("Upgrade", "websocket")
		r.Header.Set("Origin", origin)
		matches, err := foreign.MatchWithError(r)
		fmt.Println(origin, matches, err)
	}
	// Output:
	// https://crm.example.com false <nil>
	// https://intranet.example.com false <nil>
	// https://evil.example true <nil>
}
