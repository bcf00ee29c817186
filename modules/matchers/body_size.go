package matchers

import (
	"fmt"
	"math"
	"net/http"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"github.com/dustin/go-humanize"
)

func init() {
	caddy.RegisterModule(LargerThan{})
}

// LargerThan matches requests whose Content-Length is larger than a number of bytes. A route can respond to them before the client
// sends the body, and before a container gets the request. Bodies without a Content-Length need Caddy's `request_body`.
type LargerThan struct {
	Bytes int64 `json:"bytes"`
}

// CaddyModule returns the Caddy module information.
func (LargerThan) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "http.matchers.larger_than", New: func() caddy.Module { return new(LargerThan) }}
}

// UnmarshalCaddyfile reads the size. Syntax:
//
//	larger_than <size>    # 1MiB
func (m *LargerThan) UnmarshalCaddyfile(d *caddyfile.Dispenser) error {
	d.Next() // the matcher's name
	var text string
	if !d.AllArgs(&text) {
		return d.ArgErr()
	}
	var err error
	if m.Bytes, err = ParseSize(text); err != nil {
		return d.WrapErr(err)
	}
	return nil
}

// MatchWithError reports whether the request announces a larger body.
func (m LargerThan) MatchWithError(r *http.Request) (bool, error) {
	return r.ContentLength > m.Bytes, nil
}

// ParseSize parses a positive number of bytes: 50MB is 50,000,000 bytes, 50MiB is 52,428,800.
func ParseSize(text string) (int64, error) {
	size, err := humanize.ParseBytes(text)
	if err != nil || size == 0 || size > math.MaxInt64 {
		return 0, fmt.Errorf("%q: want a size, such as 512MiB or 1GB", text)
	}
	return int64(size), nil
}

// Interface guards
var (
	_ caddyfile.Unmarshaler             = (*LargerThan)(nil)
	_ caddyhttp.RequestMatcherWithError = (*LargerThan)(nil)
)
