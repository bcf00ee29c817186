package ratelimit

import (
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"net/textproto"
	"strings"
	"sync"

	"github.com/theworklabs/edge/internal/ratelimit"
)

// requestKey is what a zone counts requests by: requests with the same parts share a count.
type requestKey []keyPart

// keyPart appends one property of a request to a key. It does not interpret what the request contains, such as placeholders.
type keyPart func(key []byte, r *http.Request) []byte

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
			key = append(key, appendHost)
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

// keyBuffers are the buffers in which keys are made.
var keyBuffers = sync.Pool{New: func() any { return new([]byte) }}

// hash returns the hash of the request's key.
func (k requestKey) hash(secret ratelimit.HashKey, r *http.Request) uint64 {
	buffer := keyBuffers.Get().(*[]byte)
	defer keyBuffers.Put(buffer)
	key := (*buffer)[:0]
	for _, appendPart := range k {
		key = append(appendPart(key, r), 0xff) // which separates the parts
	}
	*buffer = key
	return secret.Hash(key)
}

// clientIPPart returns the part that appends the client's IPv4 address, or the first bits of its IPv6 address.
func clientIPPart(ipv6Bits int) keyPart {
	return func(key []byte, r *http.Request) []byte {
		text := clientIP(r)
		addr, err := netip.ParseAddr(text)
		if err != nil {
			return append(key, text...) // a client on a Unix socket has no address
		}
		addr = addr.Unmap().WithZone("")
		if addr.Is6() {
			if p, err := addr.Prefix(ipv6Bits); err == nil {
				addr = p.Addr()
			}
		}
		bytes := addr.As16()
		return append(key, bytes[:]...)
	}
}

// headerPart returns the part that appends all values of a header, whose name is in canonical form.
func headerPart(name string) keyPart {
	return func(key []byte, r *http.Request) []byte {
		for _, value := range r.Header[name] {
			key = append(append(key, value...), 0)
		}
		return key
	}
}

// appendHost appends the requested host in lower case and without its port.
func appendHost(key []byte, r *http.Request) []byte {
	host, _, err := net.SplitHostPort(r.Host)
	if err != nil {
		host = r.Host
	}
	return append(key, strings.ToLower(strings.TrimSuffix(host, "."))...)
}
