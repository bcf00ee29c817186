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

// adminAPI serves on Caddy's admin endpoint:
//
//	GET  /edge/services      a JSON list of [registry.ServiceStatus]
//	GET  /edge/certificates  a JSON list of [CertificateStatus]
//	GET  /edge/checks        a [check.Report]
//	POST /edge/drain         takes a [DrainRequest], answers a [DrainResponse]
//	GET  /edge/maintenance   a [maintenance.Snapshot]
//	POST /edge/maintenance   takes a [MaintenanceRequest], answers the book after it
type adminAPI struct{}

// CaddyModule returns the Caddy module information.
func (adminAPI) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "admin.api.edge", New: func() caddy.Module { return new(adminAPI) }}
}

// Routes returns the admin routes of the app.
func (adminAPI) Routes() []caddy.AdminRoute {
	return []caddy.AdminRoute{
		{Pattern: "/edge/services", Handler: caddy.AdminHandlerFunc(serveServices)},
		{Pattern: "/edge/certificates", Handler: caddy.AdminHandlerFunc(serveCertificates)},
		{Pattern: "/edge/checks", Handler: caddy.AdminHandlerFunc(serveChecks)},
		{Pattern: "/edge/drain", Handler: caddy.AdminHandlerFunc(serveDrain)},
		{Pattern: "/edge/maintenance", Handler: caddy.AdminHandlerFunc(serveMaintenance)},
	}
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
	l := sharedRuntime()
	if l == nil {
		return []registry.ServiceStatus{}
	}
	services := l.registry.Snapshot()
	for i := range services {
		l.setMaintenanceStatus(&services[i])
	}
	for _, s := range services {
		for i := range s.Endpoints {
			l.setSessionCount(s.Service, &s.Endpoints[i])
		}
	}
	return services
}

// setSessionCount completes an endpoint's status. It comes after what is in flight was counted: a session that a request
// begins is learned before that is over.
func (l *runtime) setSessionCount(service string, e *registry.EndpointStatus) {
	e.Sessions = l.sessions.EndpointSessions(service, e.ID) + l.adoptedSessions.EndpointSessions(service, e.ID)
}

// sharedRuntime returns what outlives configurations, or nil when no configuration uses the app.
func sharedRuntime() (l *runtime) {
	pool.Range(func(_, value any) bool {
		l = value.(*runtime)
		return false
	})
	return l
}

var _ caddy.AdminRouter = adminAPI{}
