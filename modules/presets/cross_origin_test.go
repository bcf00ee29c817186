package presets

import (
	"net/http"
	"testing"
)

func TestCrossOriginWebSocketsMatch(t *testing.T) {
	allow := ForeignOrigin{Allow: []string{"https://intranet.example:8443", "app://desktop"}}
	for _, c := range []struct {
		name, method, host, upgrade string
		origins                     []string
		foreign                     bool
	}{
		{"the site's own page", "GET", "crm.example", "websocket", []string{"https://crm.example"}, false},
		{"in other letters", "GET", "CRM.example", "websocket", []string{"https://crm.EXAMPLE"}, false},
		{"a port that goes without saying", "GET", "crm.example:443", "websocket", []string{"https://crm.example"}, false},
		{"the same port", "GET", "crm.example:8443", "websocket", []string{"https://crm.example:8443"}, false},
		{"by plain HTTP, before the redirect", "GET", "crm.example", "websocket", []string{"http://crm.example"}, false},
		{"no browser", "GET", "crm.example", "websocket", nil, false},
		{"no WebSocket", "GET", "crm.example", "", []string{"https://evil.example"}, false},
		{"an allowed site", "GET", "crm.example", "websocket", []string{"https://intranet.example:8443"}, false},
		{"an allowed program", "GET", "crm.example", "websocket", []string{"app://desktop"}, false},
		{"another site", "GET", "crm.example", "websocket", []string{"https://evil.example"}, true},
		{"another upgrade", "GET", "crm.example", "x", []string{"https://evil.example"}, true},
		{"over HTTP/2", "CONNECT", "crm.example", "", []string{"https://evil.example"}, true},
		{"a name that begins like it", "GET", "crm.example", "websocket", []string{"https://crm.example.evil.example"}, true},
		{"a name that ends like it", "GET", "crm.example", "websocket", []string{"https://evilcrm.example"}, true},
		{"another port", "GET", "crm.example", "websocket", []string{"https://crm.example:8443"}, true},
		{"its name as a user's", "GET", "crm.example", "websocket", []string{"https://crm.example@evil.example"}, true},
		{"a sandboxed page", "GET", "crm.example", "websocket", []string{"null"}, true},
		{"nothing", "GET", "crm.example", "websocket", []string{""}, true},
		{"a file", "GET", "crm.example", "websocket", []string{"file://crm.example"}, true},
		{"two", "GET", "crm.example", "websocket", []string{"https://crm.example", "https://evil.example"}, true},
		{"rubbish", "GET", "crm.example", "websocket", []string{"https://crm.example:\x7f"}, true},
	} {
		r := &http.Request{Method: c.method, Host: c.host, Header: http.Header{"Origin": c.origins}}
		if c.upgrade != "" {
			r.Header.Set("Upgrade", c.upgrade)
		}
		if got, err := allow.MatchWithError(r); got != c.foreign || err != nil {
			t.Errorf("%s: %t %v, want %t", c.name, got, err, c.foreign)
		}
	}
	if err := allow.Validate(); err != nil {
		t.Error(err)
	}
	for _, wrong := range []string{"", "intranet.example", "https://", "https://x/", "https://u@x", "https://x?y", "null"} {
		if err := (ForeignOrigin{Allow: []string{wrong}}).Validate(); err == nil {
			t.Errorf("%q is taken for an origin", wrong)
		}
	}
}
