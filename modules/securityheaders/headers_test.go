package securityheaders_test

import (
	"fmt"
	"net/http"
	"testing"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig"
	_ "github.com/caddyserver/caddy/v2/modules/standard"

	"github.com/theworklabs/edge/internal/testport"
	_ "github.com/theworklabs/edge/modules/securityheaders"
)

// startServer runs a site whose application sets headers of its own on /strict, and returns the site's address.
func startServer(t *testing.T, directive string) string {
	t.Helper()
	addr := testport.Address(t)
	config, _, err := caddyconfig.GetAdapter("caddyfile").Adapt(fmt.Appendf(nil, `{
	admin off
	persist_config off
}
http://%s {
	%s
	route {
		header X-Powered-By program/1.0
		header /strict {
			X-Frame-Options DENY
			Strict-Transport-Security max-age=1
		}
		respond ok
	}
}`, addr, directive), nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := caddy.Load(config, true); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := caddy.Stop(); err != nil {
			t.Error(err)
		}
	})
	return addr
}

func TestDirectiveSetsHeadersAndKeepsTheApplications(t *testing.T) {
	const defaultHSTS = "max-age=31536000"
	for _, c := range []struct {
		name, directive, path string
		want                  map[string]string // "": no such header
	}{
		{"default", "security_headers", "/", map[string]string{
			"Strict-Transport-Security": defaultHSTS, "X-Frame-Options": "SAMEORIGIN", "X-Content-Type-Options": "nosniff",
			"Referrer-Policy": "strict-origin-when-cross-origin", "Content-Security-Policy-Report-Only": "",
			"X-Powered-By": "", "Server": "", "Via": "",
		}},
		{"headers of the application", "security_headers", "/strict", map[string]string{
			"Strict-Transport-Security": defaultHSTS, "X-Frame-Options": "DENY", "X-Content-Type-Options": "nosniff",
		}},
		{"other values", "security_headers {\nhsts off\ncsp_report_only \"default-src 'self'\"\n}", "/", map[string]string{
			"Strict-Transport-Security": "", "X-Frame-Options": "SAMEORIGIN", "Content-Security-Policy-Report-Only": "default-src 'self'",
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			resp, err := http.Get("http://" + startServer(t, c.directive) + c.path)
			if err != nil {
				t.Fatal(err)
			}
			resp.Body.Close()
			for name, want := range c.want {
				if got := resp.Header.Get(name); got != want {
					t.Errorf("%s: got %q, want %q", name, got, want)
				}
			}
		})
	}
}
