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

// checkDomains resolves the name of every site that gets a public certificate, and compares it with this machine's addresses as
// far as those can be told from here.
func (c *Check) checkDomains(ctx context.Context, config *edgeConfig) []Finding {
	own, err := c.LocalAddresses()
	if err != nil {
		own = nil // nothing to compare with
	}
	own = slices.DeleteFunc(slices.Clone(own), func(a netip.Addr) bool { return !isPublicAddress(a) })
	var all []Finding
	for _, host := range config.hosts {
		switch {
		case strings.Contains(host, "{"): // known only when a request is there
		case !certmagic.SubjectQualifiesForPublicCert(host), slices.Contains(config.privateHosts, host):
			all = append(all, okFinding("domain", "%s needs no public DNS: its certificate is the edge's own", host))
		case strings.Contains(host, "*"):
			all = append(all, okFinding("domain", "%s stands for many names, which were not looked up", host))
		default:
			found := c.checkDomain(ctx, host, own)
			if config.hasFileCertificates && found.Level == Error { // it may have a certificate of a file
				found.Level = Warning
			}
			all = append(all, found)
		}
	}
	return all
}

func (c *Check) checkDomain(ctx context.Context, host string, own []netip.Addr) Finding {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	found, err := c.LookupIP(ctx, host)
	hint := fmt.Sprintf("point %s to this machine in its DNS: an A record, and AAAA only if IPv6 works here", host)
	if e, isDNS := errors.AsType[*net.DNSError](err); isDNS && e.IsNotFound {
		return errorFinding("domain", hint, "%s does not resolve", host)
	}
	if err != nil {
		return warningFinding("domain", "look at this machine's DNS, or leave this check out with --offline", "%s can't be looked up from here: %v", host, err)
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
		return okFinding("domain", "%s resolves to %s; whether that is this machine can't be told, which has no public address itself", host, text)
	case len(foreign) < len(found):
		return warningFinding("domain", hint, "%s resolves to %s, of which %s is not this machine", host, text, joinAddresses(foreign))
	default:
		return warningFinding("domain", hint+"; with a proxy or a CDN in front, this is as it should be", "%s resolves to %s, and this machine is %s", host, text, joinAddresses(own))
	}
}

// isPublicAddress reports whether an address can be reached from the internet, as far as the address tells.
func isPublicAddress(a netip.Addr) bool {
	a = a.Unmap()
	return a.IsGlobalUnicast() && !a.IsPrivate() && !cgnat.Contains(a)
}

// cgnat is shared address space; RFC 6598.
var cgnat = netip.MustParsePrefix("100.64.0.0/10")

func joinAddresses(all []netip.Addr) string {
	var words []string
	for _, a := range all {
		words = append(words, a.String())
	}
	return strings.Join(words, ", ")
}

// localAddresses returns those of this machine.
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
