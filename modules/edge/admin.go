package edge

import (
	"encoding/json"
	"fmt"
	"net/http"

	"github.com/caddyserver/caddy/v2"

	"github.com/theworklabs/edge/internal/registry"
)

func init() {
	caddy.RegisterModule(adminAPI{})
}

// adminAPI serves GET /edge/services on Caddy's admin endpoint: a JSON list of [registry.ServiceStatus].
type adminAPI struct{}

// CaddyModule returns the Caddy module information.
func (adminAPI) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "admin.api.edge", New: func() caddy.Module { return new(adminAPI) }}
}

// Routes returns the admin routes of the app.
func (adminAPI) Routes() []caddy.AdminRoute {
	return []caddy.AdminRoute{{Pattern: "/edge/services", Handler: caddy.AdminHandlerFunc(serveServices)}}
}

func serveServices(w http.ResponseWriter, r *http.Request) error {
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		return caddy.APIError{HTTPStatus: http.StatusMethodNotAllowed, Err: fmt.Errorf("method %s not allowed; use GET", r.Method)}
	}
	w.Header().Set("Content-Type", "application/json")
	return json.NewEncoder(w).Encode(Snapshot())
}

// Snapshot returns the services of the running edge, sorted by name; none when no configuration uses the app.
func Snapshot() []registry.ServiceStatus {
	services := []registry.ServiceStatus{}
	pool.Range(func(_, value any) bool {
		services = value.(*living).registry.Snapshot()
		return false
	})
	return services
}

var _ caddy.AdminRouter = adminAPI{}
