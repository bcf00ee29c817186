package proxy

import (
	"net/http"
	"slices"
	"strings"
)

// filterUpgrade removes the protocols that a request may not switch to, and reports whether any are left. If none is, the
// request continues as an ordinary one: a server may ignore an upgrade (RFC 9110 section 7.8), and Java's HttpClient always
// asks for h2c.
//
// The edge never forwards an upgrade to HTTP, in any version or over TLS: the application would get requests that no route,
// limit or header rule has checked. HTTP/1.0 has no upgrades. A large body, or one of unknown length, would have to be
// buffered until the other protocol begins.
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

// isHTTP reports whether a protocol is HTTP, or TLS, which may contain HTTP.
func isHTTP(protocol string) bool {
	name, _, _ := strings.Cut(strings.ToLower(protocol), "/")
	return name == "h2c" || name == "h2" || name == "http" || name == "tls"
}

// hasRequestedUpgrade reports whether a request asks for the protocol to which an endpoint has switched.
func hasRequestedUpgrade(req *http.Request, protocol string) bool {
	return slices.ContainsFunc(upgradeProtocols(req.Header), func(requested string) bool { return strings.EqualFold(requested, protocol) })
}
