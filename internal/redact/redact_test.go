package redact

import (
	"net/http"
	"slices"
	"strings"
	"testing"
)

func TestURIsKeepWhatIsNoSecret(t *testing.T) {
	for _, uri := range []string{
		"/", "", "*", "/api/accounts?page=2&per_page=50&sort=-created_at", "/compose/ns/411234567890123456/pages", "/static/js/main.8f3c2d1a9b7e4f60a1b2.chunk.js",
		"/assets/index-BXk29sd8Qw34Er56.css", "/api/sales/invoices?from_date=2026-01-01&to_date=2026-12-31", "/socket.io/?EIO=4&transport=polling&t=PhKx3z1",
		"/docs/2026-annual-report-of-the-company-final", "/api/items/6f1c1f6e-4d3a-4b6c-9a55-0c6a4a4a4c11", "/reset", "/api/auth/reset/", "/files/Rechnung%20M%C3%BCller.pdf",
		"/search?q=invoice+4711", "/?filter=name%3Dacme", "http://example.com/a?b=c", "/invite/accept", "/a?b", "/a?&&=", "/%zz?x=%zz",
	} {
		if got := URI(uri); got != uri {
			t.Errorf("%s became %s", uri, got)
		}
	}
}

func TestURIsLoseTheirSecrets(t *testing.T) {
	for uri, want := range map[string]string{
		"/socket.io/?EIO=4&transport=websocket&sid=lv_VI97HAXpY6yYWAAAC":                  "/socket.io/?EIO=4&transport=websocket&sid=REDACTED",
		"/api/x?access_token=abc&page=2":                                                  "/api/x?access_token=REDACTED&page=2",
		"/api/x?ApiKey=abc;X-Amz-Signature=0a":                                            "/api/x?ApiKey=REDACTED;X-Amz-Signature=REDACTED",
		"/api/x?%74oken=abc":                                                              "/api/x?%74oken=REDACTED",
		"/cb?code=4%2F0AX4&state=xyz":                                                     "/cb?code=REDACTED&state=REDACTED",
		"/x?v=eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0NTY3ODkwIn0.dozjgNryP4J3jVmNHl0w5N_Xg": "/x?v=REDACTED",
		"/x?eyJhbGciOiJIUzI1NiJ9":                                                         "/x?REDACTED",
		"/x?next=%2Fcb%3Ftoken%3Dabc":                                                     "/x?next=REDACTED",
		"/x?u=https%3A%2F%2Fa%3Ab%40example.com%2F":                                       "/x?u=REDACTED",
		"/api/auth/reset/k1t2x9z0":                                                        "/api/auth/reset/REDACTED",
		"/auth/invite/1a2b3c4d5e6f7a8b9c/accept":                                          "/auth/invite/REDACTED/accept",
		"/share/9f86d081884c7d659a2feaa0c55ad015a3bf4f1b":                                 "/share/REDACTED",
		"/share/Ab3_xY9-kLm2_Pq7-Rs4_Tu6-Vw8_Zz1/download":                                "/share/REDACTED/download",
		"/share/%39f86d081884c7d659a2feaa0c55ad015":                                       "/share/REDACTED",
		"https://user:secret@example.com/x?token=1":                                       "https://REDACTED@example.com/x?token=REDACTED",
		"/x?password=a#token=b":                                                           "/x?password=REDACTED",
	} {
		if got := URI(uri); got != want {
			t.Errorf("%s became %s, want %s", uri, got, want)
		}
	}
	if got := Path("/api/auth/reset/k1t2x9z0?x"); got != "/api/auth/reset/REDACTED" {
		t.Errorf("got %s", got)
	}
}

func TestOnlyKnownHeadersAreLogged(t *testing.T) {
	for name, want := range map[string]string{
		"User-Agent": "curl", "Referer": "https://example.com/reset/REDACTED?token=REDACTED",
		"X-Access-Token": "", "Authorization": "", "Cookie": "", "X-Made-Up": "", // these may have secrets
	} {
		values := []string{"curl"}
		if name == "Referer" {
			values = []string{"https://example.com/reset/secret12?token=secret"}
		}
		if got := Header(name, values); strings.Join(got, ", ") != want || (got == nil) != (want == "") {
			t.Errorf("%s: %q, want %q", name, got, want)
		}
	}
	if !slices.IsSorted(loggedHeaders) {
		t.Error("the list is not sorted")
	}
	for _, name := range slices.Concat(loggedHeaders, urlHeaders) {
		if http.CanonicalHeaderKey(name) != name {
			t.Errorf("%s is not in canonical form", name)
		}
	}
}

func FuzzURI(f *testing.F) {
	for _, seed := range []string{"/a/b?c=d&e", "http://u:p@h/x?token=1", "//?&;=%", "/reset/12345678", "\xff?\xfe=%f"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, uri string) {
		once := URI(uri)
		if twice := URI(once); twice != once {
			t.Errorf("%q became %q, and then %q", uri, once, twice)
		}
		const secret = "9f86d081884c7d659a2feaa0c55ad015"
		if got := URI(uri + "?token=" + secret); strings.Contains(got, secret) && !strings.Contains(uri, secret) {
			t.Errorf("%q keeps the secret: %q", uri, got)
		}
	})
}
