// Package statuspage is the directive `edge_status`: a page that shows what happens, live.
package statuspage

import (
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"net/url"
	"path"
	"strings"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/theworklabs/edge/internal/ipranges"
	"github.com/theworklabs/edge/modules/edge"
)

func init() {
	caddy.RegisterModule(new(Handler))
}

// Handler serves the status page, its events and, if they are switched on, its actions. It answers every request that reaches it.
//
// The page shows the names of services, containers and certificates, and why something does not work; it has no secrets. Put it behind a log-in.
type Handler struct {
	// The clients, as addresses or ranges (CIDR), that see the addresses of containers; `private_ranges` for private and loopback ranges, `any`
	// for all. Default: none.
	AddressesFor []string `json:"addresses_for,omitempty"`

	// Whether users can drain containers and begin maintenance. A user is one that an authentication handler of Caddy before this one has named, such as
	// basic_auth (http.auth.user.id; forward_auth sets none); requests without a user are refused. Default: no.
	Actions bool `json:"actions,omitempty"`

	app    *edge.App
	ranges ipranges.Set
	all    bool // all clients see addresses
}

// CaddyModule returns the Caddy module information.
func (*Handler) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "http.handlers.edge_status", New: func() caddy.Module { return new(Handler) }}
}

// Provision gets the edge app.
func (h *Handler) Provision(ctx caddy.Context) error {
	for _, text := range h.AddressesFor {
		if err := h.addRange(text); err != nil {
			return err
		}
	}
	app, err := ctx.App("edge")
	if err != nil {
		return err
	}
	h.app = app.(*edge.App)
	return nil
}

func (h *Handler) addRange(text string) error {
	switch text {
	case "any":
		h.all = true
		return nil
	case "private_ranges":
		h.ranges = append(h.ranges, ipranges.Private()...)
		return nil
	}
	p, err := ipranges.Parse(text)
	if err != nil {
		return fmt.Errorf("addresses_for %q: want an address, a range such as 192.0.2.0/24, private_ranges or any", text)
	}
	h.ranges = append(h.ranges, p)
	return nil
}

// seesAddresses reports whether the client of a request sees the addresses of containers.
func (h *Handler) seesAddresses(r *http.Request) bool {
	if h.all {
		return true
	}
	client, _ := caddyhttp.GetVar(r.Context(), caddyhttp.ClientIPVarKey).(string)
	return h.ranges.ContainsText(client)
}

//go:embed page
var files embed.FS

// assets are the files of the page, by their names, with their types.
var assets = loadAssets()

type asset struct {
	content     []byte
	contentType string
}

func loadAssets() map[string]asset {
	types := map[string]string{".html": "text/html; charset=utf-8", ".css": "text/css; charset=utf-8", ".js": "text/javascript; charset=utf-8", ".svg": "image/svg+xml"}
	all := make(map[string]asset)
	names, err := fs.Glob(files, "page/*")
	if err != nil {
		panic(err) // the pattern is correct
	}
	for _, name := range names {
		content, err := files.ReadFile(name)
		if err != nil {
			panic(err) // it is embedded
		}
		all[path.Base(name)] = asset{content, types[path.Ext(name)]}
	}
	return all
}

// policy allows the page's own files and nothing else. Charts are drawn by script, without style attributes.
const policy = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"

// ServeHTTP answers a request.
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request, _ caddyhttp.Handler) error {
	header := w.Header()
	header.Set("Content-Security-Policy", policy)
	header.Set("X-Content-Type-Options", "nosniff")
	header.Set("Referrer-Policy", "no-referrer")
	header.Set("Cache-Control", "no-store")
	name := path.Base(r.URL.Path)
	switch {
	case name == "actions" && r.Method == http.MethodPost:
		return h.act(w, r)
	case r.Method != http.MethodGet && r.Method != http.MethodHead:
		header.Set("Allow", "GET, HEAD")
		return caddyhttp.Error(http.StatusMethodNotAllowed, errors.New("the status page takes GET and HEAD"))
	case strings.HasSuffix(originalPath(r), "/"):
		name = "index.html"
	case r.URL.Path == "/" || r.URL.Path == "": // the prefix alone, which handle_path has removed
		header.Set("Location", "./"+url.PathEscape(path.Base(originalPath(r)))+"/") // another proxy in front may have removed a part, too
		w.WriteHeader(http.StatusMovedPermanently)
		return nil
	case name == "events":
		return h.serveEvents(w, r)
	}
	file, found := assets[name]
	if !found {
		return caddyhttp.Error(http.StatusNotFound, fmt.Errorf("the status page has no file %s", name))
	}
	header.Set("Content-Type", file.contentType)
	_, err := w.Write(file.content)
	return err
}

// originalPath returns the path as the client has sent it.
func originalPath(r *http.Request) string {
	if original, ok := r.Context().Value(caddyhttp.OriginalRequestCtxKey).(http.Request); ok && original.URL != nil {
		return original.URL.Path
	}
	return r.URL.Path
}

// Interface guards
var (
	_ caddy.Provisioner           = (*Handler)(nil)
	_ caddyhttp.MiddlewareHandler = (*Handler)(nil)
)
