package edge

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/caddyserver/caddy/v2"

	"github.com/theworklabs/edge/internal/registry"
)

// DrainRequest asks for endpoints to be drained before their containers are told to stop.
type DrainRequest struct {
	// Whom: container IDs, the first 12 or more characters of them, or addresses.
	Endpoints []string `json:"endpoints"`
	// For how long requests of socket.io sessions that began there may still come. Default: 10s.
	Sessions caddy.Duration `json:"sessions,omitempty"`
	// Puts them back into rotation.
	Undo bool `json:"undo,omitempty"`
}

// DrainResponse is how the endpoints are, one entry for each service that a container is an endpoint of.
type DrainResponse struct {
	Endpoints []registry.DrainStatus `json:"endpoints"`
}

// defaultDrainSessions is for how long sessions may still use an endpoint that is drained.
const defaultDrainSessions = 10 * time.Second

func serveDrain(w http.ResponseWriter, r *http.Request) error {
	if r.Method != http.MethodPost {
		return caddy.APIError{HTTPStatus: http.StatusMethodNotAllowed, Err: fmt.Errorf("method %s not allowed; use POST", r.Method)}
	}
	order := DrainRequest{Sessions: caddy.Duration(defaultDrainSessions)}
	body := json.NewDecoder(http.MaxBytesReader(w, r.Body, 1<<20))
	body.DisallowUnknownFields()
	if err := body.Decode(&order); err != nil {
		return caddy.APIError{HTTPStatus: http.StatusBadRequest, Err: fmt.Errorf("read the request: %w", err)}
	}
	if len(order.Endpoints) == 0 || order.Sessions < 0 {
		return caddy.APIError{HTTPStatus: http.StatusBadRequest, Err: errors.New(`want {"endpoints": ["<container ID>"], "sessions": "10s"}`)}
	}
	l := sharedRuntime()
	if l == nil {
		return caddy.APIError{HTTPStatus: http.StatusServiceUnavailable, Err: errors.New("no configuration uses the edge app")}
	}
	drained, err := l.registry.Drain(order.Endpoints, registry.DrainOptions{SessionGrace: time.Duration(order.Sessions), Undo: order.Undo})
	switch {
	case errors.Is(err, registry.ErrNoEndpoint):
		return caddy.APIError{HTTPStatus: http.StatusNotFound, Err: err}
	case err != nil:
		return caddy.APIError{HTTPStatus: http.StatusBadRequest, Err: err}
	}
	for i := range drained {
		l.setSessionCount(drained[i].Service, &drained[i].EndpointStatus)
	}
	w.Header().Set("Content-Type", "application/json")
	return json.NewEncoder(w).Encode(DrainResponse{drained})
}
