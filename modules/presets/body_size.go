package presets

import (
	"encoding/json"
	"fmt"
	"math"
	"net/http"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp/requestbody"
	"github.com/dustin/go-humanize"
)

func init() {
	caddy.RegisterModule(LargerThan{})
}

// LargerThan matches requests that announce a body of more bytes than this. They can be refused before the client has sent
// it, and before a container is bothered; `request_body` alone sees the size when it has passed.
type LargerThan struct {
	Bytes int64 `json:"bytes"`
}

// CaddyModule returns the Caddy module information.
func (LargerThan) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "http.matchers.larger_than", New: func() caddy.Module { return new(LargerThan) }}
}

// UnmarshalCaddyfile reads a size. Syntax:
//
//	larger_than <size>    # 1MiB
func (m *LargerThan) UnmarshalCaddyfile(d *caddyfile.Dispenser) error {
	d.Next() // consume the name
	var text string
	if !d.AllArgs(&text) {
		return d.ArgErr()
	}
	var err error
	if m.Bytes, err = parseSize(text); err != nil {
		return d.WrapErr(err)
	}
	return nil
}

// MatchWithError reports whether the request's body is larger.
func (m LargerThan) MatchWithError(r *http.Request) (bool, error) {
	return r.ContentLength > m.Bytes, nil
}

// parseSize reads a number of bytes that is more than none.
func parseSize(text string) (int64, error) {
	size, err := humanize.ParseBytes(text)
	if err != nil || size == 0 || size > math.MaxInt64 {
		return 0, fmt.Errorf("%q: want a size, such as 512MiB or 1GB", text)
	}
	return int64(size), nil
}

// bodyTooLargeRoute refuses announced bodies of more than max bytes.
func bodyTooLargeRoute(max int64) caddyhttp.Route {
	return caddyhttp.Route{
		MatcherSetsRaw: caddyhttp.RawMatcherSets{caddy.ModuleMap{"larger_than": caddyconfig.JSON(LargerThan{Bytes: max}, nil)}},
		HandlersRaw: []json.RawMessage{caddyconfig.JSONModuleObject(
			caddyhttp.StaticError{StatusCode: caddyhttp.WeakString("413")}, "handler", "error", nil,
		)},
		Terminal: true,
	}
}

// bodyLimitHandler ends bodies after max bytes, whatever was announced.
func bodyLimitHandler(max int64) json.RawMessage {
	return caddyconfig.JSONModuleObject(requestbody.RequestBody{MaxSize: max}, "handler", "request_body", nil)
}

// Interface guards
var (
	_ caddyfile.Unmarshaler             = (*LargerThan)(nil)
	_ caddyhttp.RequestMatcherWithError = (*LargerThan)(nil)
)
