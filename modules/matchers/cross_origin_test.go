package matchers

import (
	"net/http"
	"testing"
)

func TestCrossOriginWebSocketsMatch(t *testing.T) {
	matcher := ForeignOrigin{Allow: []string{"https://intranet.example:8443", "app://desktop"}}
	for _, c := range []struct {
		name, method, host, upgrade string
		origins                     []string
		foreign                     bool
	}{
		{"the site's own page", "GET", "crm.example", "websocket", []string{"https://crm.example"}, false},
		{"in upper case", "GET", "CRM.example", "websocket", []string{"https://crm.EXAMPLE"}, false},
		{"the default port", "GET", "crm.example:443", "websocket", []string{"https://crm.example"}, false},
		{"the same port", "GET", "crm.example:8443", "websocket", []string{"https://crm.example:8443"}, false},
		{"over plain HTTP, before the redirect", "GET", "crm.example", "websocket", []string{"http://crm.example"}, false},
		{"no browser", "GET", "crm.example", "websocket", nil, false},
		{"no WebSocket", "GET", "crm.example", "", []string{"https://evil.example"}, false},
		{"an allowed site", "GET", "crm.example", "websocket", []string{"https://intranet.example:8443"}, false},
		{"an allowed desktop program", "GET", "crm.example", "websocket", []string{"app://desktop"}, false},
		{"another site", "GET", "crm.example", "websocket", []string{"https://evil.example"}, true},
		{"another upgrade", "GET", "crm.example", "x", []string{"https://evil.example"}, true},
		{"over HTTP/2", "CONNECT", "crm.example", "", []string{"https://evil.example"}, true},
		{"a name with the site's as prefix", "GET", "crm.example", "websocket", []string{"https://crm.example.evil.example"}, true},
		{"a name with the site's as suffix", "GET", "crm.example", "websocket", []string{"https://evilcrm.example"}, true},
		{"another port", "GET", "crm.example", "websocket", []string{"https://crm.example:8443"}, true},
		{"the site's name as user name", "GET", "crm.example", "websocket", []string{"https://crm.example@evil.example"}, true},
		{"a sandboxed page", "GET", "crm.example", "websocket", []string{"null"}, true},
		{"an empty origin", "GET", "crm.example", "websocket", []string{""}, true},
		{"a file", "GET", "crm.example", "websocket", []string{"file://crm.example"}, true},
		{"two origins", "GET", "crm.example", "websocket", []string{"https://crm.example", "https://evil.example"}, true},
		{"an invalid origin", "GET", "crm.example", "websocket", []string{"https://crm.example:\x7f"}, true},
	} {
		r := &http.Request{Method: c.method, Host: c.host, Header: http.Header{"Origin": c.origins}}
		if c.upgrade != "" {
			r.Header.Set("Upgrade", c.upgrade)
		}
		if got, err := matcher.MatchWithError(r); got != c.foreign || err != nil {
			t.Errorf("%s: got %t %v, want %t", c.name, got, err, c.foreign)
		}
	}
	if err := matcher.Validate(); err != nil {
		t.Error(err)
	}
	for _, invalid := range []string{"", "intranet.example", "https://", "https://x/", "https://u@x", "https://x?y", "null"} {
		if err := (ForeignOrigin{Allow: []string{invalid}}).Validate(); err == nil {
			t.Errorf("%q: got no error", invalid)
		}
	}
}
