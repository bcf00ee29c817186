// Package matchers has request matchers for what a site must refuse: paths in any spelling (`any_spelling`), large bodies
// (`larger_than`), and WebSockets that pages of other sites open (`foreign_origin`).
package matchers

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

// AnySpelling matches requests by their path as the matcher `path` does. It also matches paths that an application could read as
// such a path: encoded twice, with backslashes, with parameters after a semicolon, with spaces or dots at the end of a segment.
//
// It is for paths that clients must not reach, where a false match does no harm.
type AnySpelling caddyhttp.MatchPath

// CaddyModule returns the Caddy module information.
func (AnySpelling) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "http.matchers.any_spelling", New: func() caddy.Module { return new(AnySpelling) }}
}

// Provision prepares the patterns.
func (m AnySpelling) Provision(ctx caddy.Context) error { return caddyhttp.MatchPath(m).Provision(ctx) }

// MatchWithError reports whether the request's path matches, as it is or in its canonical form. It does not change the request.
func (m AnySpelling) MatchWithError(r *http.Request) (bool, error) {
	matched, err := caddyhttp.MatchPath(m).MatchWithError(r)
	if matched || err != nil || !isAmbiguous(r.URL) {
		return matched, err
	}
	canonical := r.Clone(r.Context())
	canonical.URL = &url.URL{Path: canonicalPath(r.URL.Path)}
	return caddyhttp.MatchPath(m).MatchWithError(canonical)
}

// isAmbiguous reports whether applications could read a path in more than one way.
func isAmbiguous(u *url.URL) bool {
	return u.RawPath != "" || strings.ContainsAny(u.Path, "%\\;\x00\t ") || strings.Contains(u.Path, "./") || strings.HasSuffix(u.Path, ".")
}

// canonicalPath returns a path as the most lenient application would read it. text is decoded once already.
func canonicalPath(text string) string {
	for range 3 {
		decoded, err := url.PathUnescape(text)
		if err != nil || decoded == text {
			break
		}
		text = decoded
	}
	segments := strings.Split(strings.ReplaceAll(text, `\`, "/"), "/")
	for i, segment := range segments {
		segment, _, _ = strings.Cut(segment, ";")
		if segment != "." && segment != ".." {
			segment = strings.TrimRight(segment, ". \x00\t\r\n\u200b")
		}
		segments[i] = segment
	}
	return path.Clean("/" + strings.Join(segments, "/"))
}

// Interface guards
var (
	_ caddy.Provisioner                 = (*AnySpelling)(nil)
	_ caddyhttp.RequestMatcherWithError = (*AnySpelling)(nil)
)
