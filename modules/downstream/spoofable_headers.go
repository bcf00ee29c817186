package downstream

import (
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/theworklabs/edge/modules/edge"
)

// Kind is what a spoofable header says about the client or its request.
type Kind int

// The kinds of spoofable headers.
const (
	Address     Kind = iota // the client's address
	Host                    // the requested host
	Scheme                  // the scheme or port of the request
	URL                     // the requested path
	Certificate             // the client's TLS certificate
)

// String returns the kind's name in metrics, which modules/edge lists too.
func (k Kind) String() string {
	return [...]string{"address", "host", "scheme", "url", "certificate"}[k]
}

// Spoofable reports whether applications and proxies trust a header of this name to have been set by a proxy: they read from it
// the client's address or certificate, or the host, scheme or path of the request. It classifies a name by its words, not by a
// list. Case and separators make no difference, because CGI and its successors read X_Real.IP and X-Real-IP as one header.
func Spoofable(header string) (kind Kind, ok bool) {
	if isUsual(header) {
		return 0, false
	}
	if known, found := cachedKinds.Load(header); found {
		cached := known.(headerKind)
		return cached.kind, cached.isSpoofable
	}
	kind, ok = classifyHeader(normalizeName(header))
	if cachedKindCount.Load() < maxCachedKinds { // it must not count on, or it would overflow
		cachedKindCount.Add(1)
		cachedKinds.Store(header, headerKind{kind, ok})
	}
	return kind, ok
}

// isUsual reports whether a name is one that nearly all requests have. None of these is spoofable.
func isUsual(header string) bool {
	switch header {
	case "Accept", "Accept-Encoding", "Accept-Language", "Authorization", "Cache-Control", "Connection", "Content-Length", "Content-Type", "Cookie", "Dnt",
		"If-Modified-Since", "If-None-Match", "Origin", "Pragma", "Priority", "Range", "Referer", "Sec-Ch-Ua", "Sec-Ch-Ua-Mobile", "Sec-Ch-Ua-Platform",
		"Sec-Fetch-Dest", "Sec-Fetch-Mode", "Sec-Fetch-Site", "Sec-Fetch-User", "Te", "Traceparent", "Upgrade-Insecure-Requests", "User-Agent", "X-Request-Id", "X-Requested-With":
		return true
	}
	return false
}

// The first other names are cached: nearly all requests have the same ones.
var (
	cachedKinds     sync.Map // header name → headerKind
	cachedKindCount atomic.Int32
)

// maxCachedKinds limits the memory that clients can fill.
const maxCachedKinds = 1000

type headerKind struct {
	kind        Kind
	isSpoofable bool
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

// SameHeader reports whether two names are the same for programs that ignore case and separators.
func SameHeader(a, b string) bool { return normalizeName(a) == normalizeName(b) }

// IsXForwarded reports whether a name is that of a header that reverse_proxy replaces, or extends for a trusted proxy, in its
// canonical spelling.
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

// isForwardedHeader reports whether a name belongs to the Forwarded family: X-Forwarded-For, X-Forward-For,
// X-Original-Forwarded-For. A name that ends in "forwarded" means that something was forwarded, such as a mail.
func isForwardedHeader(name string) bool {
	if name == "forwarded" || name == "xforwarded" || strings.Contains(name, "forwardfor") || strings.HasSuffix(name, "fwdfor") {
		return true
	}
	return strings.Contains(name, "forwarded") && !strings.HasSuffix(name, "forwarded")
}

// forwardedKind returns the kind of a header of the Forwarded family.
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

// A name means an address if it ends in a word for one, right after a word for its owner: X-Real-IP, True-Client-IP,
// X-Azure-ClientIP, X-Envoy-External-Address.
var (
	addressSuffixes = []string{"ipaddress", "ipaddr", "ipv4", "ipv6", "ips", "ipport", "ip"}
	ownerWords      = []string{
		"client", "real", "true", "remote", "source", "src", "originating", "origin", "original", "peer", "connecting", "connection",
		"user", "viewer", "visitor", "downstream", "cluster", "external", "sender", "caller", "requester", "request", "browser",
		"socket", "public", "pseudo", "orig", "from", "proxy",
	}
	// The address of these owners is always a network address. A user's address, for example, may be a postal one.
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

// isCertificateHeader reports whether a name is that of a header with the certificate of a proxy's client: Client-Cert (RFC 9440),
// X-SSL-Client-Verify.
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

// headerPattern matches names of headers with a host, a scheme or a path. Such a name ends in one of the suffixes and has only
// qualifiers and neutral words before it, at least one of them a qualifier ("original"). Or it is one of a few exact names.
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

	// neutralWords are names of proxies, and other words that do not change the meaning of a name.
	neutralWords = []string{"x", "envoy", "ms", "wl", "nf", "azure", "aws", "cf", "end", "request"}
)

func (p headerPattern) matches(name string) bool {
	if slices.Contains(p.exactNames, name) {
		return true
	}
	for _, word := range p.suffixes {
		if rest, ok := strings.CutSuffix(name, word); ok && p.hasQualifier(rest) {
			return true
		}
	}
	return false
}

// hasQualifier reports whether a text consists of qualifiers and neutral words, with at least one qualifier.
func (p headerPattern) hasQualifier(text string) bool {
	for _, word := range p.qualifiers {
		if rest, ok := strings.CutPrefix(text, word); ok && (rest == "" || p.hasQualifier(rest) || hasOnlyNeutralWords(rest)) {
			return true
		}
	}
	for _, word := range neutralWords {
		if rest, ok := strings.CutPrefix(text, word); ok && rest != "" && p.hasQualifier(rest) {
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

// removeSpoofable deletes spoofable headers or trailers. It keeps a trusted proxy's three X-Forwarded headers that reverse_proxy
// extends, in their canonical spelling.
func removeSpoofable(h http.Header, isTrusted bool, app *edge.App) {
	for name := range h {
		kind, isSpoofable := Spoofable(name)
		if !isSpoofable || app.KeepsHeader(normalizeName(name)) {
			continue
		}
		if isTrusted && IsXForwarded(name) {
			continue
		}
		delete(h, name)
		app.CountSpoofedHeader(kind.String())
	}
}
