package preflight

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
)

const (
	wildcardRoutes     = `"routes": [{"match": [{"host": ["*.example.com"]}]}]`
	noChallengeMessage = "*.example.com needs a DNS challenge, and the configuration has none"
)

// configWithApps returns a configuration with an HTTP server and the app tls.
func configWithApps(server, tls string) string {
	return `{"apps": {"http": {"servers": {"s": {` + server + `}}}, "tls": {` + tls + `}}}`
}

func TestWildcardSiteNeedsADNSChallenge(t *testing.T) {
	for _, c := range []struct {
		name, server, tls string
		level             Level // "" if there is no finding
	}{
		{"no policy", wildcardRoutes, ``, Error},
		{"an authority", wildcardRoutes, `"automation": {"policies": [{"issuers": [{"module": "acme", "ca": "https://ca.test/dir"}]}]}`, Error},
		{"another name has the challenge", wildcardRoutes, `"automation": {"policies": [{"subjects": ["*.example.org"], "issuers": [{"module": "acme", "challenges": {"dns": {"provider": {"name": "x"}}}}]}]}`, Error},
		{"a name in certificates.automate", `"routes": []`, `"certificates": {"automate": ["*.example.com"]}`, Error},
		{"perhaps a certificate from a file", wildcardRoutes, `"certificates": {"load_files": []}`, Warning},
		{"the challenge for it", wildcardRoutes, `"automation": {"policies": [{"issuers": []}, {"subjects": ["*.example.com"], "issuers": [{"module": "acme", "challenges": {"dns": {"provider": {"name": "x"}}}}]}]}`, OK},
		{"the challenge for all", wildcardRoutes, `"automation": {"policies": [{"subjects": ["a.example.com"]}, {"issuers": [{"module": "acme", "challenges": {"dns": {}}}]}]}`, OK},
		{"an issuer that is not ACME", wildcardRoutes, `"automation": {"policies": [{"issuers": [{"module": "zerossl"}]}]}`, OK},
		{"the internal authority", wildcardRoutes, `"automation": {"policies": [{"subjects": ["*.example.com"], "issuers": [{"module": "internal"}]}]}`, ""},
		{"on-demand certificates", wildcardRoutes, `"automation": {"policies": [{"on_demand": true}]}`, ""},
		{"certificates of another program", wildcardRoutes, `"automation": {"policies": [{"get_certificate": [{"via": "http"}]}]}`, ""},
		{"plain HTTP", `"listen": [":80"], ` + wildcardRoutes, ``, ""},
		{"plain HTTP, in a network", `"listen": ["edge/[::1]:80"], ` + wildcardRoutes, ``, ""},
		{"automatic HTTPS is off", `"automatic_https": {"disable": true}, ` + wildcardRoutes, ``, ""},
		{"without certificates", `"automatic_https": {"disable_certificates": true}, ` + wildcardRoutes, ``, ""},
		{"not for this name", `"automatic_https": {"skip_certificates": ["*.example.com"]}, ` + wildcardRoutes, ``, ""},
		{"a name of this machine", `"routes": [{"match": [{"host": ["*.localhost"]}]}]`, ``, ""},
		{"a matcher inside a site", `"routes": [{"match": [{"host": ["a.example.com"]}], "handle": [{"handler": "subroute", "routes": [{"match": [{"host": ["*.example.com"]}]}]}]}]`, ``, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := newFakeHost(t)
			check := w.newCheck(t)
			w.adaptedConfig = configWithApps(c.server, c.tls)
			check.Offline = true
			all := check.Run(t.Context())
			switch c.level {
			case Error, Warning:
				expectFinding(t, all, "certificate", c.level, noChallengeMessage, "dns PROVIDER")
			case OK:
				expectFinding(t, all, "certificate", OK, "*.example.com has a DNS challenge", "")
			default:
				if slices.ContainsFunc(all, func(f Finding) bool { return f.Check == "certificate" }) {
					t.Errorf("%+v", all)
				}
			}
		})
	}
}

func TestModuleThatIsNotBuiltInIsNamed(t *testing.T) {
	for _, text := range []string{
		"Caddyfile:3: getting module named 'dns.providers.cloudflare': module not registered: dns.providers.cloudflare",
		"unknown module: dns.providers.cloudflare",
	} {
		w := newFakeHost(t)
		c := w.newCheck(t)
		c.Adapt = func(context.Context, string, []string) ([]byte, error) { return nil, errors.New(text) }
		all := c.Run(t.Context())
		expectFinding(t, all, "configuration", Error, "the module dns.providers.cloudflare is not part of this edge", "xcaddy build")
		if !strings.Contains(all[len(all)-1].Check, "clock") {
			t.Errorf("the clock check is missing: %+v", all)
		}
	}
}
