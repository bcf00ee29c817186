package downstream

import (
	"slices"
	"strings"
	"sync"
	"sync/atomic"
)

// Kind is what a header claims of a client or its request.
type Kind int

// The kinds of claims.
const (
	Address     Kind = iota // who the client is
	Host                    // which host it asks for
	Scheme                  // whether it came over TLS, and to which port
	URL                     // which path it asks for
	Certificate             // which certificate it has shown
	kindCount
)

// Kinds are all of them.
var Kinds = [kindCount]Kind{Address, Host, Scheme, URL, Certificate}

// String returns the kind's name in metrics.
func (k Kind) String() string {
	return [...]string{"address", "host", "scheme", "url", "certificate"}[k]
}

// Spoofable reports whether applications and proxies read the client's address, or the host, scheme or path that it asks for,
// from a header of this name, although a proxy should have set it. It goes by what the name means, not by a list: case and
// separators make no difference, since CGI and its heirs read X_Real.IP and X-Real-IP as one.
func Spoofable(header string) (kind Kind, ok bool) {
	if known, found := cachedKinds.Load(header); found {
		v := known.(headerKind)
		return v.kind, v.spoofable
	}
	kind, ok = classifyHeader(normalizeName(header))
	if cachedKindCount.Add(1) <= maxCachedKinds {
		cachedKinds.Store(header, headerKind{kind, ok})
	}
	return kind, ok
}

// The names that were judged first are remembered: nearly all requests have the same ones.
var (
	cachedKinds     sync.Map // header name → judgement
	cachedKindCount atomic.Int32
)

// maxCachedKinds bounds what clients can have remembered.
const maxCachedKinds = 1000

type headerKind struct {
	kind      Kind
	spoofable bool
}

// classifyHeader is [Spoofable] for a name in lower case without separators.
func classifyHeader(name string) (kind Kind, ok bool) {
	switch {
	case isForwardedHeader(name):
		return forwardedKind(name), true
	case isAddressHeader(name):
		return Address, true
	case hostPattern.matches(name):
		return Host, true
	case schemePattern.matches(name):
		return Scheme, true
	case urlPattern.matches(name):
		return URL, true
	case isCertificateHeader(name):
		return Certificate, true
	}
	return 0, false
}

// SameHeader reports whether two names are those of one header, for programs to which case and separators make no difference.
func SameHeader(a, b string) bool { return normalizeName(a) == normalizeName(b) }

// IsXForwarded reports whether a header is one of those that reverse_proxy itself replaces, or extends for a trusted proxy, in its
// proper spelling.
func IsXForwarded(name string) bool {
	return name == "X-Forwarded-For" || name == "X-Forwarded-Proto" || name == "X-Forwarded-Host"
}

// normalizeName returns a header's name in lower case without separators.
func normalizeName(name string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r == '-' || r == '_' || r == '.':
			return -1
		case 'A' <= r && r <= 'Z':
			return r + 'a' - 'A'
		}
		return r
	}, name)
}

// isForwardedHeader reports whether a name is one of the Forwarded family: X-Forwarded-For, X-Forward-For, X-Original-Forwarded-For. What
// ends in the word says that something was forwarded, a mail perhaps.
func isForwardedHeader(name string) bool {
	if name == "forwarded" || name == "xforwarded" || strings.Contains(name, "forwardfor") || strings.HasSuffix(name, "fwdfor") {
		return true
	}
	return strings.Contains(name, "forwarded") && !strings.HasSuffix(name, "forwarded")
}

// forwardedKind returns what a header of the Forwarded family claims.
func forwardedKind(name string) Kind {
	switch {
	case hasAnySuffix(name, []string{"host", "server"}):
		return Host
	case hasAnySuffix(name, schemePattern.suffixes):
		return Scheme
	case hasAnySuffix(name, urlPattern.suffixes):
		return URL
	}
	return Address
}

// A name claims an address if it ends in a word for one, right behind a word for who has it: X-Real-IP, True-Client-IP,
// X-Azure-ClientIP, X-Envoy-External-Address.
var (
	addressSuffixes = []string{"ipaddress", "ipaddr", "ipv4", "ipv6", "ips", "ipport", "ip"}
	ownerWords      = []string{
		"client", "real", "true", "remote", "source", "src", "originating", "origin", "original", "peer", "connecting", "connection",
		"user", "viewer", "visitor", "downstream", "cluster", "external", "sender", "caller", "requester", "request", "browser",
		"socket", "public", "pseudo", "orig", "from", "proxy",
	}
	// Of these, an address can be nothing but one on the network; a user's, say, can be where he lives.
	networkOwnerWords = []string{"client", "real", "remote", "peer", "connecting", "viewer", "downstream", "external", "originating"}
)

func isAddressHeader(name string) bool {
	switch strings.TrimPrefix(name, "x") {
	case "ip", "ipv4", "ipv6", "ipaddress", "ipaddr":
		return true
	}
	for _, word := range []string{"address", "addr"} {
		if rest, ok := strings.CutSuffix(name, word); ok && !strings.HasSuffix(rest, "ip") {
			return hasAnySuffix(rest, networkOwnerWords)
		}
	}
	for _, word := range addressSuffixes {
		if rest, ok := strings.CutSuffix(name, word); ok && hasAnySuffix(rest, ownerWords) {
			return true
		}
	}
	return false
}

// isCertificateHeader reports whether a name is that of a header in which a proxy passes on the certificate of its client:
// Client-Cert (RFC 9440), X-SSL-Client-Verify.
func isCertificateHeader(name string) bool {
	name = strings.TrimPrefix(name, "x")
	return strings.HasPrefix(name, "clientcert") || strings.HasPrefix(name, "sslclient")
}

func hasAnySuffix(name string, words []string) bool {
	for _, word := range words {
		if strings.HasSuffix(name, word) {
			return true
		}
	}
	return false
}

// headerPattern is how names claim a host, a scheme or a path: they end in one of the words, have before it nothing but who
// says so, and at least once that it is the original one; or they are one of a few that have become usual.
type headerPattern struct {
	suffixes   []string
	qualifiers []string
	exactNames []string
}

var (
	hostPattern = headerPattern{
		suffixes: []string{"hostoverride", "hostname", "host"}, qualifiers: []string{"originating", "original", "orig", "real", "http", "client", "remote"},
		exactNames: []string{"xhost", "xhostoverride", "hostoverride", "xrequesthost"},
	}
	schemePattern = headerPattern{
		suffixes:   []string{"protoversion", "protocol", "scheme", "proto", "https", "ssl", "port"},
		qualifiers: []string{"original", "real", "url", "front", "frontend", "request", "proxy", "arr", "remote"},
		exactNames: []string{"xscheme", "xproto", "xprotoversion", "xhttps", "xssl", "cfvisitor", "ssloffloaded", "xserverport", "xclientscheme", "xclientproto", "xclientport", "https"},
	}
	urlPattern = headerPattern{
		suffixes:   []string{"uri", "url", "path", "prefix", "scriptname"},
		qualifiers: []string{"original", "orig", "real", "rewrite", "replaced", "ingress"},
		exactNames: []string{"xrequesturi", "xrequesturl", "requesturi", "xscriptname", "scriptname"},
	}

	// neutralWords are proxies, and what else stands in such names without a meaning of its own.
	neutralWords = []string{"x", "envoy", "ms", "wl", "nf", "azure", "aws", "cf", "end", "request"}
)

func (v headerPattern) matches(name string) bool {
	if slices.Contains(v.exactNames, name) {
		return true
	}
	for _, word := range v.suffixes {
		if rest, ok := strings.CutSuffix(name, word); ok && v.hasQualifier(rest) {
			return true
		}
	}
	return false
}

// hasQualifier reports whether a text consists of speakers and of words for the original, at least one of them.
func (v headerPattern) hasQualifier(text string) bool {
	for _, word := range v.qualifiers {
		if rest, ok := strings.CutPrefix(text, word); ok && (rest == "" || v.hasQualifier(rest) || hasOnlyNeutralWords(rest)) {
			return true
		}
	}
	for _, word := range neutralWords {
		if rest, ok := strings.CutPrefix(text, word); ok && rest != "" && v.hasQualifier(rest) {
			return true
		}
	}
	return false
}

func hasOnlyNeutralWords(text string) bool {
	for _, word := range neutralWords {
		if rest, ok := strings.CutPrefix(text, word); ok && (rest == "" || hasOnlyNeutralWords(rest)) {
			return true
		}
	}
	return false
}
