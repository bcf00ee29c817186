package preflight

import (
	"cmp"
	"encoding/json"
	"errors"
	"maps"
	"net"
	"slices"
	"strconv"
	"strings"

	"github.com/caddyserver/certmagic"
)

// httpApp is the part of Caddy's app http that decides for which names it obtains certificates.
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

// readServers sets the addresses of the servers, and the wildcards for which they obtain certificates. It follows the rules of Caddy's
// automatic HTTPS: the names are those in the host matchers of a server's top-level routes, and a server on the HTTP port has none.
func (c *edgeConfig) readServers(text []byte, tls tlsApp) {
	var app httpApp
	if len(text) == 0 || json.Unmarshal(text, &app) != nil {
		return // Validate reports the fault
	}
	if app.HTTPPort == 0 {
		app.HTTPPort = 80
	}
	names := make(map[string]bool)
	for _, name := range stringItems(tls.Certificates["automate"]) {
		names[strings.ToLower(name)] = true
	}
	for _, server := range app.Servers {
		listen := parseListenAddresses(server.Listen)
		c.listenAddresses = append(c.listenAddresses, listen...)
		auto := server.AutoHTTPS
		if allOnPort(listen, app.HTTPPort) {
			for _, route := range server.Routes {
				for _, match := range route.Match {
					c.plainHosts = append(c.plainHosts, match.Host...)
				}
			}
		}
		if auto.Disable || auto.DisableCertificates || allOnPort(listen, app.HTTPPort) {
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
	slices.SortFunc(c.listenAddresses, func(a, b listenAddress) int { return cmp.Or(strings.Compare(a.host, b.host), a.first-b.first) })
	for _, name := range slices.Sorted(maps.Keys(names)) {
		switch policy := tls.policyFor(name); {
		case !strings.Contains(name, "*") || !certmagic.SubjectQualifiesForPublicCert(name) || !policy.isPublic():
		case policy.canIssueWildcard():
			c.wildcardsWithChallenge = append(c.wildcardsWithChallenge, name)
		default:
			c.wildcardsWithoutChallenge = append(c.wildcardsWithoutChallenge, name)
		}
	}
}

// allOnPort reports whether all addresses have one port.
func allOnPort(addresses []listenAddress, port int) bool {
	return len(addresses) > 0 && !slices.ContainsFunc(addresses, func(address listenAddress) bool {
		return address.first != port || address.last != port
	})
}

// listenAddress is a TCP address of a server, with a range of ports.
type listenAddress struct {
	host        string
	first, last int
}

// parseListenAddresses reads Caddy's addresses, [NETWORK/]HOST:PORT[-PORT]. It leaves out what has no port, such as unix//run/x.sock, and what is
// no address: Validate reports the fault.
func parseListenAddresses(texts []string) (all []listenAddress) {
	for _, text := range texts {
		if network, rest, hasNetwork := strings.Cut(text, "/"); hasNetwork && !strings.HasPrefix(network, "unix") {
			text = rest
		}
		host, ports, err := net.SplitHostPort(text)
		first, last, isRange := strings.Cut(ports, "-")
		if !isRange {
			last = first
		}
		from, fromErr := strconv.Atoi(first)
		to, toErr := strconv.Atoi(last)
		if errors.Join(err, fromErr, toErr) == nil && from <= to {
			all = append(all, listenAddress{host, from, to})
		}
	}
	return all
}

// policyFor returns the policy for a name: the first that has the name as a subject, or else the first without subjects.
func (t tlsApp) policyFor(name string) (found automationPolicy) {
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

// isPublic reports whether certificates come from an authority to which the edge proves that it controls the name.
func (p automationPolicy) isPublic() bool {
	return len(p.Managers) == 0 && !p.OnDemand && (len(p.Issuers) == 0 || slices.ContainsFunc(p.Issuers, issuer.isPublic))
}

// canIssueWildcard reports whether an issuer has a DNS challenge. It assumes so of issuers other than ACME.
func (p automationPolicy) canIssueWildcard() bool {
	return slices.ContainsFunc(p.Issuers, func(i issuer) bool { return i.isPublic() && (i.Module != "acme" || i.Challenges.DNS != nil) })
}

// checkWildcards reports wildcard sites that cannot get a certificate: for wildcards, ACME authorities accept the DNS challenge alone
// (RFC 8555, section 8; Let's Encrypt, "Challenge Types").
func checkWildcards(config *edgeConfig) []Finding {
	var all []Finding
	for _, name := range config.wildcardsWithoutChallenge {
		hint := "give each site its own name, such as " + strings.Replace(name, "*", "www", 1) +
			", or build the edge with a module for your DNS provider (xcaddy build --with github.com/theworklabs/edge " +
			"--with github.com/caddy-dns/PROVIDER) and write, in the site's tls block: dns PROVIDER …"
		found := errorFinding("certificate", hint, "%s needs a DNS challenge, and the configuration has none: no authority issues the certificate", name)
		if config.hasFileCertificates { // the name may have a certificate from a file
			found.Level = Warning
		}
		all = append(all, found)
	}
	for _, name := range config.wildcardsWithChallenge {
		all = append(all, okFinding("certificate", "%s has a DNS challenge", name))
	}
	return all
}
