package edge

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/caddyserver/caddy/v2"

	"github.com/theworklabs/edge/internal/maintenance"
)

// MaintenanceRequest begins or ends maintenance.
type MaintenanceRequest struct {
	// Whether it begins or ends.
	On *bool `json:"on"`
	// Services, as `bigcapital-server:3000`, or by the name alone, which is all ports of it. Default: all that are routed to
	// when it begins, all that are in maintenance when it ends.
	Services []string `json:"services,omitempty"`
	// Requests wait for the end of it, at most for the service's hold, instead of being refused.
	Hold bool `json:"hold,omitempty"`
	// Clients that pass nevertheless: addresses and ranges (CIDR).
	Allow []string `json:"allow,omitempty"`
	// When those who are refused are told to come again. Default: 5m.
	RetryAfter maintenance.Duration `json:"retry_after,omitempty"`
	// What they read, as plain text.
	Message string `json:"message,omitempty"`
}

// serveMaintenance answers with the [maintenance.Snapshot] that holds, on POST after the change.
func serveMaintenance(w http.ResponseWriter, r *http.Request) error {
	l := sharedRuntime()
	var a *App
	if l != nil {
		l.mu.Lock()
		a = l.active
		l.mu.Unlock()
	}
	var book *maintenance.Snapshot
	switch {
	case r.Method != http.MethodGet && r.Method != http.MethodHead && r.Method != http.MethodPost:
		return caddy.APIError{HTTPStatus: http.StatusMethodNotAllowed, Err: fmt.Errorf("method %s not allowed; use GET or POST", r.Method)}
	case a == nil:
		return caddy.APIError{HTTPStatus: http.StatusServiceUnavailable, Err: errors.New("no configuration uses the edge app")}
	case r.Method == http.MethodPost:
		var err error
		if book, err = l.handleMaintenanceRequest(w, r, a); err != nil {
			return err
		}
	default:
		book = l.restoreMaintenance(a)
	}
	w.Header().Set("Content-Type", "application/json")
	return json.NewEncoder(w).Encode(book)
}

func (l *runtime) handleMaintenanceRequest(w http.ResponseWriter, r *http.Request, a *App) (*maintenance.Snapshot, error) {
	var order MaintenanceRequest
	body := json.NewDecoder(http.MaxBytesReader(w, r.Body, 1<<20))
	body.DisallowUnknownFields()
	if err := body.Decode(&order); err != nil {
		return nil, caddy.APIError{HTTPStatus: http.StatusBadRequest, Err: fmt.Errorf("read the request: %w", err)}
	}
	if order.On == nil {
		return nil, caddy.APIError{HTTPStatus: http.StatusBadRequest, Err: errors.New(`want {"on": true} or {"on": false}`)}
	}
	services, err := l.matchServices(order, l.restoreMaintenance(a))
	if err != nil {
		return nil, caddy.APIError{HTTPStatus: http.StatusNotFound, Err: err}
	}
	edit := order.removeWindows(services)
	if *order.On {
		if edit, err = order.addWindows(services); err != nil {
			return nil, caddy.APIError{HTTPStatus: http.StatusBadRequest, Err: err}
		}
	}
	book, err := l.updateMaintenance(r.Context(), a, edit)
	if err != nil {
		return nil, caddy.APIError{HTTPStatus: http.StatusInternalServerError, Err: fmt.Errorf("nothing is changed: %w", err)}
	}
	return book, nil
}

// matchServices returns the names of the services that an order names; none for all of an order that ends maintenance.
func (l *runtime) matchServices(order MaintenanceRequest, now *maintenance.Snapshot) ([]string, error) {
	var known []string
	for _, s := range l.registry.Snapshot() {
		known = append(known, s.Service)
	}
	if len(order.Services) == 0 && *order.On {
		if len(known) == 0 {
			return nil, errors.New("no route leads to any service")
		}
		return known, nil
	}
	if !*order.On {
		for _, c := range now.Windows() { // also what no route leads to any more
			known = append(known, c.Service)
		}
	}
	slices.Sort(known)
	known = slices.Compact(known)
	var found []string
	for _, wanted := range order.Services {
		before := len(found)
		for _, service := range known {
			host, _, _ := net.SplitHostPort(service) // the registry has parsed it
			if service == wanted || host == wanted {
				found = append(found, service)
			}
		}
		if len(found) == before {
			return nil, fmt.Errorf("no service %q (known: %s)", wanted, cmp.Or(strings.Join(known, ", "), "none"))
		}
	}
	return found, nil
}

// removeWindows returns what ends the maintenance of services, or of all if there are none. All can be ended without knowing what
// was.
func (MaintenanceRequest) removeWindows(services []string) func(*maintenance.Snapshot) *maintenance.Snapshot {
	return func(was *maintenance.Snapshot) *maintenance.Snapshot {
		switch {
		case len(services) == 0:
			return new(maintenance.Snapshot)
		case was == nil:
			return nil
		}
		return was.Without(services...)
	}
}

// addWindows returns what begins it, or what is wrong with the order.
func (o MaintenanceRequest) addWindows(services []string) (func(*maintenance.Snapshot) *maintenance.Snapshot, error) {
	allow, err := maintenance.ParseAllowed(o.Allow)
	if err != nil {
		return nil, err
	}
	closures := make([]maintenance.Window, len(services))
	for i, service := range services {
		closures[i] = maintenance.Window{
			Service: service, Since: time.Now().UTC().Truncate(time.Second), Hold: o.Hold, Allow: allow,
			RetryAfter: cmp.Or(o.RetryAfter, maintenance.Duration(maintenance.DefaultRetryAfter)), Message: o.Message,
		}
		if err := closures[i].Check(); err != nil {
			return nil, err
		}
	}
	return func(was *maintenance.Snapshot) *maintenance.Snapshot {
		if was == nil {
			return nil
		}
		return was.With(closures...)
	}, nil
}
