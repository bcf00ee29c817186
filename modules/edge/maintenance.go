package edge

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"time"

	"go.uber.org/zap"

	"github.com/theworklabs/edge/internal/maintenance"
	"github.com/theworklabs/edge/internal/registry"
)

// MaintenanceCloseReason is the reason in the access log of sockets that are closed because the maintenance of their service begins.
const MaintenanceCloseReason = "maintenance"

// MaintenanceWindow returns the maintenance window of a service, or nil.
func (a *App) MaintenanceWindow(service string) *maintenance.Window {
	return a.runtime.maintenance.Window(service, a.storage)
}

// setMaintenanceStatus completes the status of a service.
func (r *runtime) setMaintenanceStatus(s *registry.ServiceStatus) {
	w := r.maintenance.Snapshot().Window(s.Service)
	if w == nil {
		return
	}
	s.Maintenance, s.MaintenanceSince = "refuse", w.Since
	if w.Hold {
		s.Maintenance = "hold"
	}
}

// MaintenanceRequest begins or ends maintenance.
type MaintenanceRequest struct {
	// Whether the maintenance begins or ends.
	On *bool `json:"on"`
	// Services, such as `bigcapital-server:3000` or `shop/web:8080`; the name alone for all its ports, or `shop/` for all services of
	// the project shop. One name of a service that has several is enough, and so is the name without its project if no other project
	// has it. Default: all services that routes lead to when maintenance begins, all services in maintenance when it ends.
	Services []string `json:"services,omitempty"`
	// Requests wait for the end of the maintenance, at most for the service's hold, instead of being refused.
	Hold bool `json:"hold,omitempty"`
	// Clients whose requests pass: addresses and ranges (CIDR).
	Allow []string `json:"allow,omitempty"`
	// The Retry-After of refused requests. Default: 5m.
	RetryAfter maintenance.Duration `json:"retry_after,omitempty"`
	// The message to visitors, as plain text.
	Message string `json:"message,omitempty"`
}

// getMaintenance answers with the [maintenance.Snapshot] that is in force.
func getMaintenance(*http.Request) (any, error) {
	shared, a := activeEdge()
	if a == nil {
		return nil, errNoEdge
	}
	return shared.maintenance.Load(a.storage), nil
}

// postMaintenance carries out a [MaintenanceRequest], and answers with the [maintenance.Snapshot] after it.
func postMaintenance(r *http.Request) (any, error) {
	shared, a := activeEdge()
	if a == nil {
		return nil, errNoEdge
	}
	var request MaintenanceRequest
	if err := decodeBody(r, &request); err != nil {
		return nil, err
	}
	return shared.changeMaintenance(r.Context(), a, request)
}

// ChangeMaintenance carries out a [MaintenanceRequest], and logs who has asked for it. Its error is an API error.
func (a *App) ChangeMaintenance(ctx context.Context, request MaintenanceRequest, by string) (*maintenance.Snapshot, error) {
	snapshot, err := a.runtime.changeMaintenance(ctx, a, request)
	if err == nil {
		a.runtime.logs.edgeLogger().Info("a change of maintenance was requested", zap.Strings("services", request.Services), zap.Bool("on", *request.On), zap.String("by", by))
	}
	return snapshot, err
}

func (r *runtime) changeMaintenance(ctx context.Context, a *App, request MaintenanceRequest) (*maintenance.Snapshot, error) {
	if request.On == nil {
		return nil, apiError(http.StatusBadRequest, errors.New(`want {"on": true} or {"on": false}`))
	}
	services, err := r.matchServices(request, r.maintenance.Load(a.storage))
	if err != nil {
		return nil, apiError(http.StatusNotFound, err)
	}
	edit := request.removeWindows(services)
	if *request.On {
		if edit, err = request.addWindows(services); err != nil {
			return nil, apiError(http.StatusBadRequest, err)
		}
	}
	snapshot, err := r.maintenance.Update(ctx, a.storage, edit)
	if err != nil {
		return nil, apiError(http.StatusInternalServerError, fmt.Errorf("nothing is changed: %w", err))
	}
	return snapshot, nil
}

// activeEdge returns the runtime and the active configuration, or nil.
func activeEdge() (*runtime, *App) {
	shared := sharedRuntime()
	if shared == nil {
		return nil, nil
	}
	return shared, shared.activeApp()
}

// matchServices returns the services that a request names. For a request that ends all maintenance it returns none.
func (r *runtime) matchServices(request MaintenanceRequest, current *maintenance.Snapshot) ([]string, error) {
	known := r.registry.Snapshot()
	if len(request.Services) == 0 && *request.On {
		if len(known) == 0 {
			return nil, errors.New("no route leads to any service")
		}
		return serviceNames(known), nil
	}
	if !*request.On {
		for _, w := range current.Windows() { // these may include services that no route leads to any more
			if !slices.Contains(serviceNames(known), w.Service) {
				known = append(known, registry.ServiceStatus{Service: w.Service})
			}
		}
	}
	var found []string
	for _, wanted := range request.Services {
		matching, err := registry.FindServices(known, wanted)
		if err != nil {
			return nil, err
		}
		found = append(found, matching...)
	}
	return found, nil
}

func serviceNames(services []registry.ServiceStatus) []string {
	names := make([]string, len(services))
	for i, s := range services {
		names[i] = s.Service
	}
	return names
}

// removeWindows returns an edit that ends the maintenance of services, or of all services if there are none. The latter works without
// the current snapshot, so that it works with a corrupt storage too.
func (MaintenanceRequest) removeWindows(services []string) func(*maintenance.Snapshot) *maintenance.Snapshot {
	return func(current *maintenance.Snapshot) *maintenance.Snapshot {
		switch {
		case len(services) == 0:
			return new(maintenance.Snapshot)
		case current == nil:
			return nil
		}
		return current.Without(services...)
	}
}

// addWindows returns an edit that begins the maintenance of services, or an error that says what is wrong with the request.
func (m MaintenanceRequest) addWindows(services []string) (func(*maintenance.Snapshot) *maintenance.Snapshot, error) {
	allow, err := maintenance.ParseAllowed(m.Allow)
	if err != nil {
		return nil, err
	}
	windows := make([]maintenance.Window, len(services))
	for i, service := range services {
		windows[i] = maintenance.Window{
			Service: service, Since: time.Now().UTC().Truncate(time.Second), Hold: m.Hold, Allow: allow,
			RetryAfter: cmp.Or(m.RetryAfter, maintenance.Duration(maintenance.DefaultRetryAfter)), Message: m.Message,
		}
		if err := windows[i].Check(); err != nil {
			return nil, err
		}
	}
	return func(current *maintenance.Snapshot) *maintenance.Snapshot {
		if current == nil {
			return nil
		}
		return current.With(windows...)
	}, nil
}
