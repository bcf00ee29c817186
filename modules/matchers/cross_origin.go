package matchers

import (
	"fmt"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
)

func init() {
	caddy.RegisterModule(ForeignOrigin{})
}

// ForeignOrigin matches requests for a WebSocket that a browser sends on behalf of another site's page. Browsers do not restrict
// such requests as they do others (CORS), and they send the cookies of the requested site with them (RFC 6455 section 10.2).
// Clients other than browsers send no Origin, and do not match.
type ForeignOrigin struct {
	// Origins of other sites whose pages may open WebSockets, such as `https://intranet.example.com`.
	Allow []string `json:"allow,omitempty"`
}

// CaddyModule returns the Caddy module information.
func (ForeignOrigin) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "http.matchers.foreign_origin", New: func() caddy.Module { return new(ForeignOrigin) }}
}

// Validate returns an error for the first allowed origin that is invalid.
func (m ForeignOrigin) Validate() error {
	for _, text := range m.Allow {
		if err := ValidateOrigin(text); err != nil {
			return err
		}
	}
	return nil
}

// ValidateOrigin returns an error if the text is not a scheme and a host, with nothing after them.
func ValidateOrigin(text string) error {
	u, err := url.Parse(text)
	if err != nil || u.Host == "" || u.String() != u.Scheme+"://"+u.Host {
		return fmt.Errorf("origin %q: want a scheme and a host, such as https://intranet.example.com", text)
	}
	return nil
}

// MatchWithError reports whether another site's page requests a WebSocket.
func (m ForeignOrigin) MatchWithError(r *http.Request) (bool, error) {
	if r.Header.Get("Upgrade") == "" && r.Method != http.MethodConnect { // CONNECT opens a WebSocket over HTTP/2 (RFC 8441)
		return false, nil
	}
	origins := r.Header.Values("Origin")
	if len(origins) == 0 {
		return false, nil
	}
	u, err := url.Parse(origins[0])
	if len(origins) > 1 || err != nil {
		return true, nil
	}
	if (u.Scheme == "https" || u.Scheme == "http") && strings.EqualFold(stripDefaultPort(u.Host, u.Scheme), stripDefaultPort(r.Host, u.Scheme)) {
		return false, nil
	}
	return !slices.ContainsFunc(m.Allow, func(allowed string) bool { return strings.EqualFold(allowed, origins[0]) }), nil
}

// stripDefaultPort removes the port if it is the scheme's default port.
func stripDefaultPort(hostport, scheme string) string {
	host, port, err := net.SplitHostPort(hostport)
	if err == nil && (scheme == "https" && port == "443" || scheme == "http" && port == "80") {
		return host
	}
	return hostport
}

// Interface guards
var (
	_ caddy.Validator                   = (*ForeignOrigin)(nil)
	_ caddyhttp.RequestMatcherWithError = (*ForeignOrigin)(nil)
)
