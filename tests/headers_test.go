package tests

import (
	"net/http"
	"strings"
	"testing"
)

// TestResponsesHaveSecurityHeadersAndNoServerNames checks responses of the applications and the edge's own errors.
func TestResponsesHaveSecurityHeadersAndNoServerNames(t *testing.T) {
	p := readyStack(t)
	for _, url := range []string{
		accounting + "/", accounting + "/api/echo", accounting + "/api/queues", accounting + "/socket.io/?EIO=4&transport=polling",
		crm + "/", crm + "/metrics", docs + "/", docs + "/no/such/page",
	} {
		a := p.Get(t, url, "Accept", "text/html")
		for name, want := range map[string]string{
			"Strict-Transport-Security": "max-age=31536000", "X-Content-Type-Options": "nosniff",
			"X-Frame-Options": "SAMEORIGIN", "Referrer-Policy": "strict-origin-when-cross-origin",
		} {
			if got := a.Header.Values(name); len(got) != 1 || got[0] != want {
				t.Errorf("%s: %s is %q, want %q once", url, name, got, want)
			}
		}
		checkNoServerHeaders(t, url, a.Header)
	}
	for _, url := range []string{"http://accounting.localhost/", "http://localhost/health", "http://unknown.localhost/"} {
		checkNoServerHeaders(t, url, p.Get(t, url).Header)
	}

	policy := p.Get(t, accounting+"/").Header.Get("Content-Security-Policy-Report-Only")
	for _, want := range []string{"default-src 'self'", "https://cdn.plaid.com", "https://js.stripe.com", "https://cdnjs.cloudflare.com", "object-src 'none'"} {
		if !strings.Contains(policy, want) {
			t.Errorf("BigCapital's policy lacks %q: %s", want, policy)
		}
	}
}

func checkNoServerHeaders(t *testing.T, url string, header http.Header) {
	t.Helper()
	for _, name := range []string{"Server", "Via", "X-Powered-By"} {
		if got := header.Values(name); len(got) > 0 {
			t.Errorf("%s: the header %s reveals the server's software: %q", url, name, got)
		}
	}
}
