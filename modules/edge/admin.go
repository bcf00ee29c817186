package edge

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/certmagic"
	"go.uber.org/zap"

	"github.com/theworklabs/edge/internal/drains"
	"github.com/theworklabs/edge/internal/registry"
	"github.com/theworklabs/edge/internal/timeline"
	"github.com/theworklabs/edge/modules/certificates"
)

func init() {
	caddy.RegisterModule(adminAPI{})
}

// adminAPI serves on Caddy's admin endpoint:
//
//	GET  /edge/services      a JSON list of [registry.ServiceStatus]
//	GET  /edge/certificates  a JSON list of [certificates.Status]
//	GET  /edge/checks        a [preflight.Report]
//	POST /edge/drain         takes a [DrainRequest], answers a [DrainResponse]
//	GET  /edge/backups       a [recovery.Status]
//	POST /edge/backups       takes a [recovery.Report], answers the status after it
//	GET  /edge/replication   a [replication.State], or null
//	GET  /edge/handover      a [HandoverStatus]
//	POST /edge/handover      takes a [HandoverRequest], answers the status after it
//	GET  /edge/cloudflare    a [trustedproxies.CloudflareList]
//	POST /edge/cloudflare    takes one, and answers it
//	POST /edge/deployments   takes a [deploy.Event]
//	GET  /edge/exhausted     a JSON list of [Exhaustion]
//	GET  /edge/traffic       the last minutes of each service: name → []traffic.Point
//	GET  /edge/state         a [State]
//	POST /edge/state         takes a [State], and adds it to its own
//	GET  /edge/maintenance   a [maintenance.Snapshot]
//	POST /edge/maintenance   takes a [MaintenanceRequest], answers the snapshot after the change
type adminAPI struct{}

// CaddyModule returns the Caddy module information.
func (adminAPI) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "admin.api.edge", New: func() caddy.Module { return new(adminAPI) }}
}

// Routes returns the admin routes of the app.
func (adminAPI) Routes() []caddy.AdminRoute {
	return []caddy.AdminRoute{
		{Pattern: "/edge/services", Handler: jsonHandler{http.MethodGet: func(*http.Request) (any, error) { return Snapshot(), nil }}},
		{Pattern: "/edge/certificates", Handler: jsonHandler{http.MethodGet: func(*http.Request) (any, error) { return Certificates(), nil }}},
		{Pattern: "/edge/checks", Handler: jsonHandler{http.MethodGet: getChecks}},
		{Pattern: "/edge/drain", Handler: jsonHandler{http.MethodPost: postDrain}},
		{Pattern: "/edge/replication", Handler: jsonHandler{http.MethodGet: getReplication}},
		{Pattern: "/edge/backups", Handler: jsonHandler{http.MethodGet: getBackups, http.MethodPost: postBackups}},
		{Pattern: "/edge/deployments", Handler: jsonHandler{http.MethodPost: postDeployments}},
		{Pattern: "/edge/cloudflare", Handler: jsonHandler{http.MethodGet: getCloudflare, http.MethodPost: postCloudflare}},
		{Pattern: "/edge/exhausted", Handler: jsonHandler{http.MethodGet: getExhaustion}},
		{Pattern: "/edge/traffic", Handler: jsonHandler{http.MethodGet: getTraffic}},
		{Pattern: "/edge/handover", Handler: jsonHandler{http.MethodGet: getHandover, http.MethodPost: postHandover}},
		{Pattern: "/edge/state", Handler: stateHandler{jsonHandler{http.MethodGet: getState, http.MethodPost: postState}}},
		{Pattern: "/edge/maintenance", Handler: jsonHandler{http.MethodGet: getMaintenance, http.MethodPost: postMaintenance}},
	}
}

// jsonHandler answers each method with the JSON of what its function returns. GET answers HEAD too; other methods get 405.
type jsonHandler map[string]func(*http.Request) (any, error)

// maxAdminBody is the largest body of a request, in bytes.
const maxAdminBody = 1 << 20

// ServeHTTP implements caddy.AdminHandler.
func (h jsonHandler) ServeHTTP(w http.ResponseWriter, r *http.Request) error {
	return h.serve(w, r, maxAdminBody)
}

// stateHandler is a jsonHandler for bodies of [maxStateBody] bytes.
type stateHandler struct{ jsonHandler }

// ServeHTTP implements caddy.AdminHandler.
func (h stateHandler) ServeHTTP(w http.ResponseWriter, r *http.Request) error {
	return h.serve(w, r, maxStateBody)
}

func (h jsonHandler) serve(w http.ResponseWriter, r *http.Request, maxBody int64) error {
	method := r.Method
	if method == http.MethodHead {
		method = http.MethodGet
	}
	answer := h[method]
	if answer == nil {
		allowed := strings.Join(slices.Sorted(maps.Keys(h)), " or ")
		return apiError(http.StatusMethodNotAllowed, fmt.Errorf("method %s not allowed; use %s", r.Method, allowed))
	}
	r.Body = http.MaxBytesReader(w, r.Body, maxBody)
	value, err := answer(r)
	if err != nil {
		return err
	}
	w.Header().Set("Content-Type", "application/json")
	return json.NewEncoder(w).Encode(value)
}

// decodeBody reads a request's body, in which an unknown field is an error: people make typing mistakes. Its error is an API error of status 400.
func decodeBody(r *http.Request, to any) error {
	body := json.NewDecoder(r.Body)
	body.DisallowUnknownFields()
	return decode(body, to)
}

// decodeMessage reads the body of a request that a program makes, which may be of a later version, and say more.
func decodeMessage(r *http.Request, to any) error { return decode(json.NewDecoder(r.Body), to) }

func decode(body *json.Decoder, to any) error {
	if err := body.Decode(to); err != nil {
		return apiError(http.StatusBadRequest, fmt.Errorf("read the request: %w", err))
	}
	return nil
}

func apiError(status int, err error) error { return caddy.APIError{HTTPStatus: status, Err: err} }

// errNoEdge is the error of a request that needs an edge, when no configuration has one.
var errNoEdge = apiError(http.StatusServiceUnavailable, errors.New("no configuration uses the edge app"))

// Snapshot returns the services of the running edge, sorted by name; none if no configuration uses the app.
func Snapshot() []registry.ServiceStatus {
	r := sharedRuntime()
	if r == nil {
		return []registry.ServiceStatus{}
	}
	return r.snapshot()
}

// snapshot returns the status of all services, with their maintenance and sessions.
func (r *runtime) snapshot() []registry.ServiceStatus {
	return r.complete(r.registry.Snapshot())
}

// complete completes statuses with what the registry does not know.
func (r *runtime) complete(services []registry.ServiceStatus) []registry.ServiceStatus {
	for i := range services {
		r.setMaintenanceStatus(&services[i])
	}
	for _, s := range services {
		for i := range s.Endpoints {
			r.setSessionCount(s.Service, &s.Endpoints[i])
		}
	}
	return services
}

// setSessionCount completes the status of an endpoint. The requests in flight must have been counted before: the edge learns of a new
// session before the request that begins it ends.
func (r *runtime) setSessionCount(service string, e *registry.EndpointStatus) {
	e.Sessions = r.sessions.EndpointSessions(service, e.ID) + r.adoptedSessions.EndpointSessions(service, e.ID)
}

// Certificates returns the certificates of the running configuration, sorted by name; none if it does not use the app.
func Certificates() []certificates.Status {
	r := sharedRuntime()
	if r == nil {
		return []certificates.Status{}
	}
	return r.certificates.Status(caddy.ActiveContext())
}

// DrainRequest asks the edge to drain endpoints before their containers are told to stop.
type DrainRequest struct {
	// The endpoints: IDs of containers, or the first 12 or more characters of them, names such as shop/web/1, or addresses.
	Endpoints []string `json:"endpoints"`
	// How long the endpoints still get requests of the socket.io sessions that began there. Default: 10s.
	Sessions caddy.Duration `json:"sessions,omitempty"`
	// Puts the endpoints back into rotation.
	Undo bool `json:"undo,omitempty"`
}

// DrainResponse has the status of the endpoints, with one entry for each service that a container is an endpoint of.
type DrainResponse struct {
	Endpoints []registry.DrainStatus `json:"endpoints"`
	// After which time other edges that share the storage do the same, such as "2s"; empty if the storage is a directory of this host.
	SharedWithin string `json:"shared_within,omitempty"`
	// Why the others were not notified. It is not tried again.
	NotShared string `json:"not_shared,omitempty"`
}

// shareTimeout is how long a drain waits for the storage. The drain of this edge is in force meanwhile.
const shareTimeout = 3 * time.Second

// defaultDrainSessions is how long an endpoint that drains still gets requests of its sessions.
const defaultDrainSessions = 10 * time.Second

func postDrain(r *http.Request) (any, error) {
	request := DrainRequest{Sessions: caddy.Duration(defaultDrainSessions)}
	if err := decodeBody(r, &request); err != nil {
		return nil, err
	}
	return Drain(r.Context(), request, "the admin API")
}

// Drain carries out a [DrainRequest], and logs who has asked for it. Its error is an API error.
func Drain(ctx context.Context, request DrainRequest, by string) (DrainResponse, error) {
	if len(request.Endpoints) == 0 || request.Sessions < 0 {
		return DrainResponse{}, apiError(http.StatusBadRequest, errors.New(`want {"endpoints": ["<container ID>"], "sessions": "10s"}`))
	}
	shared := sharedRuntime()
	if shared == nil {
		return DrainResponse{}, errNoEdge
	}
	opts := registry.DrainOptions{SessionGrace: time.Duration(request.Sessions), Undo: request.Undo}
	endpoints, err := shared.registry.Drain(request.Endpoints, opts)
	switch {
	case errors.Is(err, registry.ErrNoEndpoint):
		return DrainResponse{}, apiError(http.StatusNotFound, err)
	case err != nil:
		return DrainResponse{}, apiError(http.StatusBadRequest, err)
	}
	shared.noteDrain(endpoints, request.Undo, by)
	for i := range endpoints {
		shared.setSessionCount(endpoints[i].Service, &endpoints[i].EndpointStatus)
	}
	response := DrainResponse{Endpoints: endpoints}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), shareTimeout) // the client may leave
	defer cancel()
	isShared, err := shared.drains.Share(ctx, endpoints, opts)
	if err != nil {
		response.NotShared = err.Error()
		shared.logs.edgeLogger().Warn("other edges were not notified of the drain: repeat it when the storage responds", zap.Error(err))
		return response, nil
	}
	if _, isDirectory := shared.activeStorage().(*certmagic.FileStorage); isShared && !isDirectory {
		response.SharedWithin = drains.SharedWithin.String()
	}
	return response, nil
}

// noteDrain logs that endpoints are drained, or no longer so, and who has asked for it.
func (r *runtime) noteDrain(endpoints []registry.DrainStatus, isUndo bool, by string) {
	text := "an operator drains it"
	if isUndo {
		text = "an operator no longer drains it"
	}
	for i := range endpoints {
		e := &endpoints[i]
		r.timeline.Add(timeline.Event{Kind: timeline.Drain, Level: timeline.Info, Service: e.Service, Endpoint: cmp.Or(e.Name, e.ID), Text: text})
		r.logs.edgeLogger().Info("a drain was requested", zap.String("service", e.Service), zap.String("endpoint", e.Name), zap.String("id", e.ID),
			zap.Bool("undo", isUndo), zap.String("by", by))
	}
}

var _ caddy.AdminRouter = adminAPI{}
