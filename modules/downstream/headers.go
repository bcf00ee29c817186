package downstream

import "strings"

// Kind is what a header claims of a client or its request.
type Kind int

// The kinds of claims.
const (
	Address Kind = iota // who the client is
	Host                // which host it asks for
	Scheme              // whether it came over TLS, and to which port
	URL                 // which path it asks for
	kinds
)

// Kinds are all of them.
var Kinds = [kinds]Kind{Address, Host, Scheme, URL}

// String returns the kind's name in metrics.
func (k Kind) String() string { return [...]string{"address", "host", "scheme", "url"}[k] }

// Spoofable reports whether applications and proxies read the client's address, or the host, scheme or path that it asks for,
// from a header of this name, although a proxy should have set it. It goes by what the name means, not by a list: case and
// separators make no difference, since CGI and its heirs read X_Real.IP and X-Real-IP as one.
func Spoofable(header string) (kind Kind, ok bool) {
	name := squeeze(header)
	switch {
	case usual[name]:
		return 0, false
	case strings.Contains(name, "forwarded"):
		return forwardedKind(name), true
	case claimsAddress(name):
		return Address, true
	case claims(name, hostWords):
		return Host, true
	case claims(name, schemeWords):
		return Scheme, true
	case claims(name, urlWords):
		return URL, true
	}
	return 0, false
}

// SameHeader reports whether two names are those of one header, for programs to which case and separators make no difference.
func SameHeader(a, b string) bool { return squeeze(a) == squeeze(b) }

// IsForwarded reports whether a header is one of those that reverse_proxy itself replaces, or extends for a trusted proxy, in its
// proper spelling.
func IsForwarded(name string) bool {
	return name == "X-Forwarded-For" || name == "X-Forwarded-Proto" || name == "X-Forwarded-Host"
}

// squeeze returns a header's name in lower case without separators.
func squeeze(name string) string {
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

// usual are headers that most requests have, which need no closer look.
var usual = map[string]bool{
	"accept": true, "acceptencoding": true, "acceptlanguage": true, "authorization": true, "cachecontrol": true,
	"connection": true, "contentlength": true, "contenttype": true, "cookie": true, "dnt": true, "ifmodifiedsince": true,
	"ifnonematch": true, "origin": true, "pragma": true, "priority": true, "range": true, "referer": true, "secchua": true,
	"secchuamobile": true, "secchuaplatform": true, "secfetchdest": true, "secfetchmode": true, "secfetchsite": true,
	"secfetchuser": true, "te": true, "upgrade": true, "upgradeinsecurerequests": true, "useragent": true,
	"xrequestedwith": true, "xcsrftoken": true,
}

// forwardedKind returns what a header of the Forwarded family claims.
func forwardedKind(name string) Kind {
	switch {
	case endsIn(name, []string{"host", "server"}):
		return Host
	case endsIn(name, schemeWords):
		return Scheme
	case endsIn(name, urlWords) || strings.HasSuffix(name, "prefix"):
		return URL
	}
	return Address
}

// A name claims an address if it ends in a word for one, right behind a word for who has it: X-Real-IP, True-Client-IP,
// X-Azure-ClientIP, X-Envoy-External-Address.
var (
	addressWords = []string{"ipaddress", "ipaddr", "ipv4", "ipv6", "addr", "ip"}
	ownerWords   = []string{
		"client", "real", "true", "remote", "source", "src", "originating", "origin", "original", "peer", "connecting", "user",
		"viewer", "visitor", "downstream", "cluster", "external", "sender", "caller", "requester", "browser",
	}
	// Of these, an address can be nothing but one on the network; a user's, say, can be where he lives.
	networkOwnerWords = []string{"client", "real", "remote", "peer", "connecting", "viewer", "downstream", "external", "originating"}
)

func claimsAddress(name string) bool {
	if name == "xip" || name == "ip" {
		return true
	}
	if rest, ok := strings.CutSuffix(name, "address"); ok && !strings.HasSuffix(rest, "ip") {
		return endsIn(rest, networkOwnerWords)
	}
	for _, word := range addressWords {
		if rest, ok := strings.CutSuffix(name, word); ok && endsIn(rest, ownerWords) {
			return true
		}
	}
	return false
}

func endsIn(name string, words []string) bool {
	for _, word := range words {
		if strings.HasSuffix(name, word) {
			return true
		}
	}
	return false
}

// A name claims a host, a scheme or a path if it is nothing but such a word, with others before it that say whose.
var (
	hostWords   = []string{"hostoverride", "host"}
	schemeWords = []string{"protoversion", "protocol", "scheme", "proto", "https", "ssl", "port"}
	urlWords    = []string{"uri", "url", "path"}

	whoseWords = []string{"original", "real", "http", "client", "url", "request", "rewrite", "frontend", "front", "end", "server", "x"}
)

func claims(name string, words []string) bool {
	for _, word := range words {
		rest, ok := strings.CutSuffix(name, word)
		if !ok || rest == "" {
			continue // the word alone is no header that anybody reads, or Host
		}
		for cut := true; cut && rest != ""; {
			cut = false
			for _, whose := range whoseWords {
				if shorter, ok := strings.CutPrefix(rest, whose); ok {
					rest, cut = shorter, true
					break
				}
			}
		}
		if rest == "" {
			return true
		}
	}
	return false
}
