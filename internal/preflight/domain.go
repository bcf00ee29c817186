package preflight

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/caddyserver/certmagic"
)

// checkDomains resolves the host name of each site that needs a public certificate, and compares the addresses with this machine's
// public ones.
func (c *Check) checkDomains(ctx context.Context, config *edgeConfig) []Finding {
	own, err := c.LocalAddresses()
	if err != nil {
		own = nil // checkDomain then compares nothing
	}
	own = slices.DeleteFunc(slices.Clone(own), func(a netip.Addr) bool { return !isPublicAddress(a) })
	var all []Finding
	for _, host := range config.hosts {
		switch {
		case strings.Contains(host, "{"): // a placeholder, whose value depends on the request
		case !certmagic.SubjectQualifiesForPublicCert(host) && slices.Contains(config.plainHosts, host):
			all = append(all, okFinding("domain", "%s needs no public DNS", host))
		case !certmagic.SubjectQualifiesForPublicCert(host), slices.Contains(config.privateHosts, host):
			all = append(all, okFinding("domain", "%s needs no public DNS: the edge issues its certificate itself", host))
		case strings.Contains(host, "*"):
			all = append(all, okFinding("domain", "%s is a wildcard, and is not looked up", host))
		default:
			found := c.checkDomain(ctx, host, own)
			if config.hasFileCertificates && found.Level == Error { // the name may have a certificate from a file
				found.Level = Warning
			}
			all = append(all, found)
		}
	}
	return all
}

// checkDomain compares the addresses of a host name with this machine's public addresses.
func (c *Check) checkDomain(ctx context.Context, host string, own []netip.Addr) Finding {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	found, err := c.LookupIP(ctx, host)
	hint := fmt.Sprintf("point %s to this machine in its DNS: an A record, and AAAA only if IPv6 works here", host)
	if e, isDNS := errors.AsType[*net.DNSError](err); isDNS && e.IsNotFound {
		return errorFinding("domain", hint, "%s does not resolve", host)
	}
	if err != nil {
		return warningFinding("domain", "check this machine's DNS, or skip this check with --offline", "%s can't be looked up from here: %v", host, err)
	}
	for i := range found {
		found[i] = found[i].Unmap()
	}
	foreign := slices.DeleteFunc(slices.Clone(found), func(a netip.Addr) bool { return slices.Contains(own, a) })
	switch text := joinAddresses(found); {
	case !slices.ContainsFunc(found, isPublicAddress):
		return warningFinding("domain", hint, "%s resolves to %s, which a public certificate authority can't reach", host, text)
	case len(foreign) == 0:
		return okFinding("domain", "%s resolves to %s, which is this machine", host, text)
	case len(own) == 0:
		return okFinding("domain", "%s resolves to %s; this machine has no public address to compare it with", host, text)
	case len(foreign) < len(found):
		return warningFinding("domain", hint, "%s resolves to %s, of which %s is not this machine", host, text, joinAddresses(foreign))
	default:
		return warningFinding("domain", hint+"; with a proxy or a CDN in front of the edge, this is right", "%s resolves to %s, and this machine is %s", host, text, joinAddresses(own))
	}
}

// isPublicAddress reports whether an address is globally routable.
func isPublicAddress(a netip.Addr) bool {
	a = a.Unmap()
	return a.IsGlobalUnicast() && !a.IsPrivate() && !cgnat.Contains(a)
}

// cgnat is the shared address space of RFC 6598.
var cgnat = netip.MustParsePrefix("100.64.0.0/10")

func joinAddresses(all []netip.Addr) string {
	var words []string
	for _, a := range all {
		words = append(words, a.String())
	}
	return strings.Join(words, ", ")
}

// localAddresses returns the addresses of this machine's interfaces.
func localAddresses() ([]netip.Addr, error) {
	found, err := net.InterfaceAddrs()
	if err != nil {
		return nil, err
	}
	var all []netip.Addr
	for _, a := range found {
		if prefix, err := netip.ParsePrefix(a.String()); err == nil {
			all = append(all, prefix.Addr())
		}
	}
	return all, nil
}
