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

// requestKey is what a zone counts requests by: requests with the same parts share a count.
type requestKey []keyPart

// keyPart writes one property of a request to the hash. It does not interpret what the request contains, such as placeholders.
type keyPart func(h *maphash.Hash, r *http.Request)

// parseKey parses the names of a key's parts; without names, the key is client_ip. ipv6Bits is how many bits of a client's IPv6
// address are part of the key.
func parseKey(names []string, ipv6Bits int) (requestKey, error) {
	if len(names) == 0 {
		names = []string{"client_ip"}
	}
	var key requestKey
	for _, name := range names {
		header, isHeader := strings.CutPrefix(name, "header:")
		switch {
		case name == "client_ip":
			key = append(key, clientIPPart(ipv6Bits))
		case name == "host":
			key = append(key, writeHost)
		case isHeader && strings.EqualFold(header, "Host"):
			return nil, fmt.Errorf("key %q: want host: Go does not have Host among the headers", name)
		case isHeader && header != "":
			key = append(key, headerPart(textproto.CanonicalMIMEHeaderKey(header)))
		default:
			return nil, fmt.Errorf("key %q: there are client_ip, host and header:NAME", name)
		}
	}
	return key, nil
}

// hash returns the hash of the request's key.
func (k requestKey) hash(seed maphash.Seed, r *http.Request) uint64 {
	var h maphash.Hash
	h.SetSeed(seed)
	for _, write := range k {
		write(&h, r)
		_ = h.WriteByte(0xff) // separates the parts
	}
	return h.Sum64()
}

// clientIPPart returns the part that writes the client's IPv4 address, or the first bits of its IPv6 address.
func clientIPPart(ipv6Bits int) keyPart {
	return func(h *maphash.Hash, r *http.Request) {
		text := clientIP(r)
		addr, err := netip.ParseAddr(text)
		if err != nil {
			_, _ = h.WriteString(text) // a client on a Unix socket has no address
			return
		}
		addr = addr.Unmap().WithZone("")
		if addr.Is6() {
			if p, err := addr.Prefix(ipv6Bits); err == nil {
				addr = p.Addr()
			}
		}
		bytes := addr.As16()
		_, _ = h.Write(bytes[:])
	}
}

// headerPart returns the part that writes all values of a header, whose name is in canonical form.
func headerPart(name string) keyPart {
	return func(h *maphash.Hash, r *http.Request) {
		for _, value := range r.Header[name] {
			_, _ = h.WriteString(value) // writing to a hash never fails
			_ = h.WriteByte(0)
		}
	}
}

// writeHost writes the requested host in lower case and without its port.
func writeHost(h *maphash.Hash, r *http.Request) {
	host, _, err := net.SplitHostPort(r.Host)
	if err != nil {
		host = r.Host
	}
	_, _ = h.WriteString(strings.ToLower(strings.TrimSuffix(host, ".")))
}
