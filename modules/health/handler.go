// Package health is the directive `health`, which answers whether the edge runs, and whether all services are ready.
package health

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/theworklabs/edge/internal/ipranges"
	"github.com/theworklabs/edge/modules/edge"
	"github.com/theworklabs/edge/modules/listeners"
)

func init() {
	caddy.RegisterModule(new(Handler))
}

// Handler answers two paths, and passes all other requests to the next handler:
//
//   - `/health`: 200 as long as the edge runs, whatever the state of the services, and 503 while it lets its clients go, because it ends.
//   - `/health/ready`: 200 while every service that routes lead to has a ready endpoint, else 503.
//
// Both answer GET and HEAD with `application/health+json` (draft-inadarei-api-health-check-06). Only clients in the configured ranges
// get the names and addresses of services.
type Handler struct {
	// The clients, as addresses or ranges (CIDR), that get the names and addresses of services. Default: private and loopback ranges; an
	// empty list in JSON is the default too. `none` means no client.
	DetailsFor []string `json:"details_for,omitempty"`

	ranges ipranges.Set
	app    *edge.App
}

// CaddyModule returns the Caddy module information.
func (*Handler) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "http.handlers.edge_health", New: func() caddy.Module { return new(Handler) }}
}

// Provision parses the ranges and gets the edge app.
func (h *Handler) Provision(ctx caddy.Context) error {
	ranges, err := parseRanges(h.DetailsFor)
	if err != nil {
		return err
	}
	h.ranges = ranges
	app, err := ctx.App("edge")
	if err != nil {
		return err
	}
	h.app = app.(*edge.App)
	return nil
}

func parseRanges(texts []string) (ipranges.Set, error) {
	if len(texts) == 0 {
		return ipranges.Private(), nil
	}
	var ranges ipranges.Set
	for _, text := range texts {
		switch text {
		case "none":
			continue
		case "private_ranges":
			ranges = append(ranges, ipranges.Private()...)
			continue
		}
		p, err := ipranges.Parse(text)
		if err != nil {
			return nil, fmt.Errorf("details_for %q: want an address, a range such as 10.0.0.0/8, private_ranges or none", text)
		}
		ranges = append(ranges, p)
	}
	return ranges, nil
}

// The paths that are answered.
const (
	livePath  = "/health"
	readyPath = "/health/ready"
)

// ServeHTTP answers the two paths, and passes all other requests to the next handler.
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request, next caddyhttp.Handler) error {
	path := strings.TrimSuffix(r.URL.Path, "/")
	if path != livePath && path != readyPath {
		return next.ServeHTTP(w, r)
	}
	w.Header().Set("Content-Type", "application/health+json")
	w.Header().Set("Cache-Control", "no-store")
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		w.Header().Set("Allow", "GET, HEAD")
		w.WriteHeader(http.StatusMethodNotAllowed)
		return nil
	}
	answer := report{Status: statusPass}
	switch {
	case listeners.IsLeaving():
		answer = report{Status: statusFail, Output: "the edge ends, or another one takes over"}
	case path == readyPath:
		answer = h.readiness(h.showsDetailsTo(r))
	}
	status := http.StatusOK
	if answer.Status != statusPass {
		status = http.StatusServiceUnavailable
		w.Header().Set("Retry-After", "5")
	}
	w.WriteHeader(status)
	if r.Method == http.MethodHead {
		return nil
	}
	return json.NewEncoder(w).Encode(answer)
}

// showsDetailsTo reports whether the client of a request may see names and addresses of services.
func (h *Handler) showsDetailsTo(r *http.Request) bool {
	client, _ := caddyhttp.GetVar(r.Context(), caddyhttp.ClientIPVarKey).(string)
	return h.ranges.ContainsText(client)
}

// Interface guards
var (
	_ caddy.Provisioner           = (*Handler)(nil)
	_ caddyhttp.MiddlewareHandler = (*Handler)(nil)
)
