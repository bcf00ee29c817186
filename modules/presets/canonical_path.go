package presets

import (
	"net/http"
	"net/url"
	"path"
	"strings"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
)

func init() {
	caddy.RegisterModule(AnySpelling{})
}

// AnySpelling matches requests by their path as the matcher `path` does, and also those that a program behind could take for
// such a path: encoded twice, with backslashes, with parameters after a semicolon, with blanks or dots at the end of a part.
// It is for paths that must not be reached, where a match too many does no harm.
type AnySpelling caddyhttp.MatchPath

// CaddyModule returns the Caddy module information.
func (AnySpelling) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "http.matchers.any_spelling", New: func() caddy.Module { return new(AnySpelling) }}
}

// Provision prepares the patterns.
func (m AnySpelling) Provision(ctx caddy.Context) error { return caddyhttp.MatchPath(m).Provision(ctx) }

// MatchWithError reports whether the request's path, or what could be made of it, matches.
func (m AnySpelling) MatchWithError(r *http.Request) (bool, error) {
	matched, err := caddyhttp.MatchPath(m).MatchWithError(r)
	if matched || err != nil || !isAmbiguous(r.URL) {
		return matched, err
	}
	obliging := r.Clone(r.Context())
	obliging.URL = &url.URL{Path: canonicalPath(r.URL.Path)}
	return caddyhttp.MatchPath(m).MatchWithError(obliging)
}

// isAmbiguous reports whether there is more than one way to read a path.
func isAmbiguous(u *url.URL) bool {
	return u.RawPath != "" || strings.ContainsAny(u.Path, "%\\;\x00\t ") || strings.Contains(u.Path, "./") || strings.HasSuffix(u.Path, ".")
}

// canonicalPath returns a path as the most obliging of programs would read it. It has been decoded once.
func canonicalPath(text string) string {
	for range 3 {
		decoded, err := url.PathUnescape(text)
		if err != nil || decoded == text {
			break
		}
		text = decoded
	}
	parts := strings.Split(strings.ReplaceAll(text, `\`, "/"), "/")
	for i, part := range parts {
		part, _, _ = strings.Cut(part, ";")
		if part != "." && part != ".." {
			part = strings.TrimRight(part, ". \x00\t\r\n\u200b")
		}
		parts[i] = part
	}
	return path.Clean("/" + strings.Join(parts, "/"))
}

// Interface guards
var (
	_ caddy.Provisioner                 = (*AnySpelling)(nil)
	_ caddyhttp.RequestMatcherWithError = (*AnySpelling)(nil)
)
