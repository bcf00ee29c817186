package proxy

import (
	"net/http"
	"slices"
	"strings"
)

// filterUpgrade leaves in a request the protocols that it may switch to, and reports whether there are any. If not, it goes on
// as an ordinary request: what asks for an upgrade need not get one (RFC 9110 section 7.8), and Java's HttpClient always asks for
// h2c.
//
// HTTP itself is never passed on, in no version and not over TLS: an application that takes it would be sent requests that no
// route, limit or rule about headers has seen. HTTP/1.0 can't ask, and what comes with a large body, or one of unknown length,
// would have to be kept until the other protocol begins.
func filterUpgrade(r *http.Request) bool {
	if len(r.Header["Upgrade"]) == 0 && len(r.Header["Http2-Settings"]) == 0 {
		return false
	}
	delete(r.Header, "Http2-Settings")
	var protocols []string
	if r.ProtoMajor == 1 && r.ProtoMinor > 0 && r.ContentLength >= 0 && r.ContentLength <= maxReplayBody {
		protocols = slices.DeleteFunc(upgradeProtocols(r.Header), isHTTP)
	}
	if len(protocols) == 0 {
		delete(r.Header, "Upgrade")
		return false
	}
	r.Header["Upgrade"] = []string{strings.Join(protocols, ", ")}
	return true
}

// upgradeProtocols returns the protocols in the Upgrade headers.
func upgradeProtocols(h http.Header) (protocols []string) {
	for _, line := range h["Upgrade"] {
		for protocol := range strings.SplitSeq(line, ",") {
			if protocol = strings.TrimSpace(protocol); protocol != "" {
				protocols = append(protocols, protocol)
			}
		}
	}
	return protocols
}

// isHTTP reports whether a protocol is HTTP, or TLS, which may have it inside.
func isHTTP(protocol string) bool {
	name, _, _ := strings.Cut(strings.ToLower(protocol), "/")
	return name == "h2c" || name == "h2" || name == "http" || name == "tls"
}

// hasRequestedUpgrade reports whether a request asks for the protocol that an endpoint has switched to.
func hasRequestedUpgrade(req *http.Request, protocol string) bool {
	return slices.ContainsFunc(upgradeProtocols(req.Header), func(asked string) bool { return strings.EqualFold(asked, protocol) })
}
