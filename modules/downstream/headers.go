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
	kinds
)

// Kinds are all of them.
var Kinds = [kinds]Kind{Address, Host, Scheme, URL, Certificate}

// String returns the kind's name in metrics.
func (k Kind) String() string {
	return [...]string{"address", "host", "scheme", "url", "certificate"}[k]
}

// Spoofable reports whether applications and proxies read the client's address, or the host, scheme or path that it asks for,
// from a header of this name, although a proxy should have set it. It goes by what the name means, not by a list: case and
// separators make no difference, since CGI and its heirs read X_Real.IP and X-Real-IP as one.
func Spoofable(header string) (kind Kind, ok bool) {
	if known, found := judged.Load(header); found {
		v := known.(judgement)
		return v.kind, v.spoofable
	}
	kind, ok = judge(squeeze(header))
	if judgements.Add(1) <= maxJudgements {
		judged.Store(header, judgement{kind, ok})
	}
	return kind, ok
}

// The names that were judged first are remembered: nearly all requests have the same ones.
var (
	judged     sync.Map // header name → judgement
	judgements atomic.Int32
)

// maxJudgements bounds what clients can have remembered.
const maxJudgements = 1000

type judgement struct {
	kind      Kind
	spoofable bool
}

// judge is [Spoofable] for a name in lower case without separators.
func judge(name string) (kind Kind, ok bool) {
	switch {
	case isForwarded(name):
		return forwardedKind(name), true
	case claimsAddress(name):
		return Address, true
	case hosts.claims(name):
		return Host, true
	case schemes.claims(name):
		return Scheme, true
	case urls.claims(name):
		return URL, true
	case claimsCertificate(name):
		return Certificate, true
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

// isForwarded reports whether a name is one of the Forwarded family: X-Forwarded-For, X-Forward-For, X-Original-Forwarded-For. What
// ends in the word says that something was forwarded, a mail perhaps.
func isForwarded(name string) bool {
	if name == "forwarded" || name == "xforwarded" || strings.Contains(name, "forwardfor") || strings.HasSuffix(name, "fwdfor") {
		return true
	}
	return strings.Contains(name, "forwarded") && !strings.HasSuffix(name, "forwarded")
}

// forwardedKind returns what a header of the Forwarded family claims.
func forwardedKind(name string) Kind {
	switch {
	case endsIn(name, []string{"host", "server"}):
		return Host
	case endsIn(name, schemes.words):
		return Scheme
	case endsIn(name, urls.words):
		return URL
	}
	return Address
}

// A name claims an address if it ends in a word for one, right behind a word for who has it: X-Real-IP, True-Client-IP,
// X-Azure-ClientIP, X-Envoy-External-Address.
var (
	addressWords = []string{"ipaddress", "ipaddr", "ipv4", "ipv6", "ips", "ipport", "ip"}
	ownerWords   = []string{
		"client", "real", "true", "remote", "source", "src", "originating", "origin", "original", "peer", "connecting", "connection",
		"user", "viewer", "visitor", "downstream", "cluster", "external", "sender", "caller", "requester", "request", "browser",
		"socket", "public", "pseudo", "orig", "from", "proxy",
	}
	// Of these, an address can be nothing but one on the network; a user's, say, can be where he lives.
	networkOwnerWords = []string{"client", "real", "remote", "peer", "connecting", "viewer", "downstream", "external", "originating"}
)

func claimsAddress(name string) bool {
	switch strings.TrimPrefix(name, "x") {
	case "ip", "ipv4", "ipv6", "ipaddress", "ipaddr":
		return true
	}
	for _, word := range []string{"address", "addr"} {
		if rest, ok := strings.CutSuffix(name, word); ok && !strings.HasSuffix(rest, "ip") {
			return endsIn(rest, networkOwnerWords)
		}
	}
	for _, word := range addressWords {
		if rest, ok := strings.CutSuffix(name, word); ok && endsIn(rest, ownerWords) {
			return true
		}
	}
	return false
}

// claimsCertificate reports whether a name is that of a header in which a proxy passes on the certificate of its client:
// Client-Cert (RFC 9440), X-SSL-Client-Verify.
func claimsCertificate(name string) bool {
	name = strings.TrimPrefix(name, "x")
	return strings.HasPrefix(name, "clientcert") || strings.HasPrefix(name, "sslclient")
}

func endsIn(name string, words []string) bool {
	for _, word := range words {
		if strings.HasSuffix(name, word) {
			return true
		}
	}
	return false
}

// vocabulary is how names claim a host, a scheme or a path: they end in one of the words, have before it nothing but who
// says so, and at least once that it is the original one; or they are one of a few that have become usual.
type vocabulary struct {
	words    []string
	original []string
	usual    []string
}

var (
	hosts = vocabulary{
		words: []string{"hostoverride", "hostname", "host"}, original: []string{"originating", "original", "orig", "real", "http", "client", "remote"},
		usual: []string{"xhost", "xhostoverride", "hostoverride", "xrequesthost"},
	}
	schemes = vocabulary{
		words:    []string{"protoversion", "protocol", "scheme", "proto", "https", "ssl", "port"},
		original: []string{"original", "real", "url", "front", "frontend", "request", "proxy", "arr", "remote"},
		usual:    []string{"xscheme", "xproto", "xprotoversion", "xhttps", "xssl", "cfvisitor", "ssloffloaded", "xserverport", "xclientscheme", "xclientproto", "xclientport", "https"},
	}
	urls = vocabulary{
		words:    []string{"uri", "url", "path", "prefix", "scriptname"},
		original: []string{"original", "orig", "real", "rewrite", "replaced", "ingress"},
		usual:    []string{"xrequesturi", "xrequesturl", "requesturi", "xscriptname", "scriptname"},
	}

	// speakers are proxies, and what else stands in such names without a meaning of its own.
	speakers = []string{"x", "envoy", "ms", "wl", "nf", "azure", "aws", "cf", "end", "request"}
)

func (v vocabulary) claims(name string) bool {
	if slices.Contains(v.usual, name) {
		return true
	}
	for _, word := range v.words {
		if rest, ok := strings.CutSuffix(name, word); ok && v.saysOriginal(rest) {
			return true
		}
	}
	return false
}

// saysOriginal reports whether a text consists of speakers and of words for the original, at least one of them.
func (v vocabulary) saysOriginal(text string) bool {
	for _, word := range v.original {
		if rest, ok := strings.CutPrefix(text, word); ok && (rest == "" || v.saysOriginal(rest) || onlySpeakers(rest)) {
			return true
		}
	}
	for _, word := range speakers {
		if rest, ok := strings.CutPrefix(text, word); ok && rest != "" && v.saysOriginal(rest) {
			return true
		}
	}
	return false
}

func onlySpeakers(text string) bool {
	for _, word := range speakers {
		if rest, ok := strings.CutPrefix(text, word); ok && (rest == "" || onlySpeakers(rest)) {
			return true
		}
	}
	return false
}
