package certificates

import (
	"slices"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"github.com/caddyserver/caddy/v2/modules/caddytls"
	"github.com/caddyserver/certmagic"
)

// Sites returns the names for which a configuration serves HTTPS with certificates that Caddy obtains, as far as its routes name them.
func Sites(ctx caddy.Context) map[string]bool {
	sites := make(map[string]bool)
	if ctx.Context == nil {
		return sites
	}
	app, err := ctx.AppIfConfigured("http")
	if err != nil {
		return sites
	}
	tls := TLSApp(ctx)
	for _, server := range app.(*caddyhttp.App).Servers {
		if len(server.TLSConnPolicies) == 0 || server.AutoHTTPS != nil && (server.AutoHTTPS.Disabled || server.AutoHTTPS.DisableCerts) {
			continue
		}
		for _, route := range server.Routes {
			for _, set := range route.MatcherSets {
				for _, matcher := range set {
					hosts, _ := matcher.(*caddyhttp.MatchHost)
					if hosts == nil {
						continue
					}
					for _, host := range *hosts {
						if certmagic.SubjectQualifiesForCert(host) && !isSkipped(server.AutoHTTPS, host) && !isOnDemand(tls, host) {
							sites[host] = true
						}
					}
				}
			}
		}
	}
	return sites
}

func isSkipped(c *caddyhttp.AutoHTTPSConfig, host string) bool {
	return c != nil && (slices.Contains(c.Skip, host) || slices.Contains(c.SkipCerts, host))
}

// isOnDemand reports whether Caddy gets the certificate of a name only when a client asks for it, from an authority or a manager.
func isOnDemand(app *caddytls.TLS, host string) bool {
	if app == nil || app.Automation == nil {
		return false
	}
	for _, p := range app.Automation.Policies {
		if subjects := p.Subjects(); len(subjects) == 0 || slices.Contains(subjects, host) {
			return p.OnDemand || len(p.Managers) > 0
		}
	}
	return false
}

// TLSApp returns the TLS app of a configuration, or nil.
func TLSApp(ctx caddy.Context) *caddytls.TLS {
	if ctx.Context == nil {
		return nil
	}
	app, err := ctx.AppIfConfigured("tls")
	if err != nil {
		return nil
	}
	tls, _ := app.(*caddytls.TLS)
	return tls
}
