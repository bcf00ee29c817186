package edge

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"

	"github.com/theworklabs/edge/internal/engineio"
	"github.com/theworklabs/edge/internal/handover"
	"github.com/theworklabs/edge/internal/registry"
)

// State is what an edge knows that its successor can't find out by itself. It is handed over in JSON, by /edge/state.
type State struct {
	// Sessions and AdoptedSessions are the socket.io sessions, and the endpoints that began them.
	Sessions        []engineio.Record `json:"sessions,omitempty"`
	AdoptedSessions []engineio.Record `json:"adopted_sessions,omitempty"`
	// Ejections are the endpoints that are out of rotation because their responses were bad.
	Ejections []registry.EjectedEndpoint `json:"ejections,omitempty"`
	// RetryBudgets are the requests and retries of the last seconds, by service.
	RetryBudgets map[string][]registry.RetrySecond `json:"retry_budgets,omitempty"`
	// Drained are the endpoints that an operator drains.
	Drained []string `json:"drained,omitempty"`
	// Modules is what other modules hand over, such as the counts of rate limits.
	Modules map[string]json.RawMessage `json:"modules,omitempty"`
}

// maxStateBody is the largest state in bytes: 100,000 sessions have 20 MB.
const maxStateBody = 64 << 20

// getState answers the state of this edge.
func getState(*http.Request) (any, error) {
	r := sharedRuntime()
	if r == nil {
		return nil, errNoEdge
	}
	return r.exportState()
}

// postState takes over the state of the predecessor. It may be repeated: what is known already stays as it is.
func postState(req *http.Request) (any, error) {
	var s State
	if err := json.NewDecoder(req.Body).Decode(&s); err != nil { // one of another version may have more fields
		return nil, apiError(http.StatusBadRequest, fmt.Errorf("read the request: %w", err))
	}
	r := sharedRuntime()
	if r == nil {
		return nil, errNoEdge
	}
	if err := r.importState(s); err != nil {
		return nil, apiError(http.StatusInternalServerError, err)
	}
	return struct{}{}, nil
}

func (r *runtime) exportState() (State, error) {
	modules, err := handover.Export()
	return State{
		Sessions:        r.sessions.Export(),
		AdoptedSessions: r.adoptedSessions.Export(),
		Ejections:       r.registry.ExportEjections(),
		RetryBudgets:    r.registry.ExportRetryBudgets(),
		Drained:         r.registry.DrainedIDs(),
		Modules:         modules,
	}, err
}

func (r *runtime) importState(s State) error {
	r.sessions.Import(s.Sessions)
	r.adoptedSessions.Import(s.AdoptedSessions)
	r.registry.ImportEjections(s.Ejections)
	r.registry.ImportRetryBudgets(s.RetryBudgets)
	known := r.registry.DrainedIDs()
	failed := handover.Import(s.Modules)
	for _, id := range s.Drained {
		if slices.Contains(known, id) {
			continue
		}
		// The end of the grace for its sessions was not handed over: they get the default.
		_, err := r.registry.Drain([]string{id}, registry.DrainOptions{SessionGrace: defaultDrainSessions})
		if !errors.Is(err, registry.ErrNoEndpoint) { // it has gone
			failed = errors.Join(failed, err)
		}
	}
	return failed
}
