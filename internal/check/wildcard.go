package check

import (
	"encoding/json"
	"maps"
	"net"
	"slices"
	"strconv"
	"strings"

	"github.com/caddyserver/certmagic"
)

// httpApp is what is checked of Caddy's servers: for which names they obtain certificates by themselves.
type httpApp struct {
	HTTPPort int `json:"http_port"`
	Servers  map[string]struct {
		Listen []string
		Routes []struct {
			Match []struct{ Host []string }
		}
		AutoHTTPS struct {
			Disable             bool
			DisableCertificates bool `json:"disable_certificates"`
			Skip                []string
			SkipCertificates    []string `json:"skip_certificates"`
		} `json:"automatic_https"`
	}
}

// readServers reads what the servers listen on, and which names with * they obtain certificates for. It follows the rules of
// Caddy's automatic HTTPS: names stand in the matchers of a server's own routes, and a server on the HTTP port has none.
func (c *config) readServers(text []byte, tls tlsApp) {
	var app httpApp
	if len(text) == 0 || json.Unmarshal(text, &app) != nil {
		return // loading it says why
	}
	if app.HTTPPort == 0 {
		app.HTTPPort = 80
	}
	names := make(map[string]bool)
	for _, name := range texts(tls.Certificates["automate"]) {
		names[strings.ToLower(name)] = true
	}
	for _, server := range app.Servers {
		c.listen = append(c.listen, server.Listen...)
		auto := server.AutoHTTPS
		if auto.Disable || auto.DisableCertificates || onlyOn(server.Listen, app.HTTPPort) {
			continue
		}
		for _, route := range server.Routes {
			for _, match := range route.Match {
				for _, name := range match.Host {
					if !slices.Contains(auto.Skip, name) && !slices.Contains(auto.SkipCertificates, name) {
						names[strings.ToLower(name)] = true
					}
				}
			}
		}
	}
	slices.Sort(c.listen)
	for _, name := range slices.Sorted(maps.Keys(names)) {
		switch policy := tls.policy(name); {
		case !strings.Contains(name, "*") || !certmagic.SubjectQualifiesForPublicCert(name) || !policy.public():
		case policy.canProve():
			c.challenged = append(c.challenged, name)
		default:
			c.wildcards = append(c.wildcards, name)
		}
	}
}

// onlyOn reports whether all addresses have one port.
func onlyOn(addresses []string, port int) bool {
	return len(addresses) > 0 && !slices.ContainsFunc(addresses, func(address string) bool {
		_, number, err := net.SplitHostPort(address)
		return err != nil || number != strconv.Itoa(port)
	})
}

// policy returns the policy for a name: the one that lists it, or else the first that lists none.
func (t tlsApp) policy(name string) (found policy) {
	for _, p := range slices.Backward(t.Automation.Policies) {
		if len(p.Subjects) == 0 {
			found = p
		}
	}
	for _, p := range t.Automation.Policies {
		for _, subject := range p.Subjects {
			if strings.EqualFold(subject, name) || certmagic.MatchWildcard(name, subject) {
				return p
			}
		}
	}
	return found
}

// public reports whether certificates come from an authority that has to be shown who owns the name.
func (p policy) public() bool {
	return len(p.Managers) == 0 && !p.OnDemand && (len(p.Issuers) == 0 || slices.ContainsFunc(p.Issuers, issuer.public))
}

// canProve reports whether an issuer has a way to prove ownership of all names below a domain. Of issuers other than ACME it is
// not known, and assumed.
func (p policy) canProve() bool {
	return slices.ContainsFunc(p.Issuers, func(i issuer) bool { return i.public() && (i.Module != "acme" || i.Challenges.DNS != nil) })
}

// wildcards reports sites for which no certificate can be obtained: for names with *, ACME authorities accept the DNS challenge
// alone (RFC 8555, section 8; Let's Encrypt, "Challenge Types").
func wildcards(config *config) []Finding {
	var all []Finding
	for _, name := range config.wildcards {
		hint := "give each site its own name, such as " + strings.Replace(name, "*", "www", 1) +
			", or build the edge with a module for your DNS provider (xcaddy build --with github.com/theworklabs/edge " +
			"--with github.com/caddy-dns/PROVIDER) and write, in the site's tls block: dns PROVIDER …"
		found := failure("certificate", hint, "%s needs a DNS challenge, and the configuration has none: no authority issues the certificate", name)
		if config.own { // the name may have a certificate of a file
			found.Level = Warning
		}
		all = append(all, found)
	}
	for _, name := range config.challenged {
		all = append(all, ok("certificate", "%s has a DNS challenge", name))
	}
	return all
}
