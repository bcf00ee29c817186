package discovery

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"time"

	"github.com/miekg/dns"
)

const dnsTimeout = 2 * time.Second

// lookup asks the resolver for the IPv4 addresses of host, or for its IPv6 addresses if there are no IPv4 ones, so that a container
// counts once. No address and no error means that the host has no members.
func lookup(ctx context.Context, resolver, host string) ([]netip.Addr, error) {
	for _, kind := range []uint16{dns.TypeA, dns.TypeAAAA} {
		addrs, err := query(ctx, resolver, host, kind)
		if err != nil || len(addrs) > 0 {
			return addrs, err
		}
	}
	return nil, nil
}

// query asks for the addresses of one record type, over UDP, and over TCP if the answer is truncated.
func query(ctx context.Context, resolver, host string, kind uint16) ([]netip.Addr, error) {
	ctx, cancel := context.WithTimeout(ctx, dnsTimeout)
	defer cancel()
	question := new(dns.Msg).SetQuestion(dns.Fqdn(host), kind)
	question.SetEdns0(4096, false)
	answer, _, err := (&dns.Client{}).ExchangeContext(ctx, question, resolver)
	if err == nil && answer.Truncated {
		answer, _, err = (&dns.Client{Net: "tcp"}).ExchangeContext(ctx, question, resolver)
	}
	if err != nil {
		return nil, fmt.Errorf("look up %s at %s: %w", host, resolver, err)
	}
	switch answer.Rcode {
	case dns.RcodeSuccess, dns.RcodeNameError:
		return addresses(answer), nil
	default:
		return nil, fmt.Errorf("look up %s at %s: %w", host, resolver, errors.New(dns.RcodeToString[answer.Rcode]))
	}
}

// addresses returns the addresses in an answer.
func addresses(answer *dns.Msg) []netip.Addr {
	var addrs []netip.Addr
	for _, record := range answer.Answer {
		var addr netip.Addr
		switch r := record.(type) {
		case *dns.A:
			addr, _ = netip.AddrFromSlice(r.A)
		case *dns.AAAA:
			addr, _ = netip.AddrFromSlice(r.AAAA)
		}
		if addr.IsValid() {
			addrs = append(addrs, addr.Unmap())
		}
	}
	return addrs
}
