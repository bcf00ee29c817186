package ratelimit

import (
	"fmt"
	"hash/maphash"
	"net"
	"net/http"
	"net/netip"
	"net/textproto"
	"strings"
)

// keyPart is one thing that requests are counted by: it writes it to the hash, with nothing of the request interpreted.
type keyPart func(z *Zone, h *maphash.Hash, r *http.Request)

func (z *Zone) parseKey() error {
	z.keyParts = nil
	names := z.Key
	if len(names) == 0 {
		names = []string{"client_ip"}
	}
	for _, name := range names {
		header, isHeader := strings.CutPrefix(name, "header:")
		switch {
		case name == "client_ip":
			z.keyParts = append(z.keyParts, writeClientIP)
		case name == "host":
			z.keyParts = append(z.keyParts, writeHost)
		case isHeader && strings.EqualFold(header, "Host"):
			return fmt.Errorf("key %q: Host is no header for Go; it is: host", name)
		case isHeader && header != "":
			header = textproto.CanonicalMIMEHeaderKey(header)
			z.keyParts = append(z.keyParts, func(_ *Zone, h *maphash.Hash, r *http.Request) {
				for _, value := range r.Header[header] {
					_, _ = h.WriteString(value) // it never fails, by its contract
					_ = h.WriteByte(0)
				}
			})
		default:
			return fmt.Errorf("key %q: there are client_ip, host and header:NAME", name)
		}
	}
	return nil
}

// keyHash returns the hash of what the request is counted by.
func (z *Zone) keyHash(r *http.Request) uint64 {
	var h maphash.Hash
	h.SetSeed(z.state.limiter.Seed())
	for _, write := range z.keyParts {
		write(z, &h, r)
		_ = h.WriteByte(0xff) // so that parts don't run into each other
	}
	return h.Sum64()
}

// writeClientIP writes the client's address, or of IPv6 the part of it that is the customer's.
func writeClientIP(z *Zone, h *maphash.Hash, r *http.Request) {
	text := clientIP(r)
	addr, err := netip.ParseAddr(text)
	if err != nil {
		_, _ = h.WriteString(text) // a unix socket has none
		return
	}
	addr = addr.Unmap().WithZone("")
	if addr.Is6() {
		if p, err := addr.Prefix(z.ipv6Bits); err == nil {
			addr = p.Addr()
		}
	}
	bytes := addr.As16()
	_, _ = h.Write(bytes[:])
}

// writeHost writes the host that was asked for, without its port and in lower case.
func writeHost(_ *Zone, h *maphash.Hash, r *http.Request) {
	host, _, err := net.SplitHostPort(r.Host)
	if err != nil {
		host = r.Host
	}
	_, _ = h.WriteString(strings.ToLower(strings.TrimSuffix(host, ".")))
}
