package health

import (
	"fmt"
	"time"

	"github.com/theworklabs/edge/internal/registry"
	"github.com/theworklabs/edge/modules/edge"
)

// The statuses of a report, as the draft names them.
const (
	statusPass = "pass"
	statusFail = "fail"
)

// report is an answer, in the format of draft-inadarei-api-health-check-06.
type report struct {
	Status string             `json:"status"`
	Output string             `json:"output,omitempty"`
	Checks map[string][]check `json:"checks,omitempty"`
}

// check is an endpoint of a service, or the service itself if it has no endpoint.
type check struct {
	ComponentID   string    `json:"componentId,omitempty"` // the endpoint's address
	ComponentType string    `json:"componentType"`
	Status        string    `json:"status"`
	ObservedValue string    `json:"observedValue"` // the state of the endpoint, or "none"
	Time          time.Time `json:"time"`          // when the state began
	Output        string    `json:"output,omitempty"`
}

// readiness reports whether all services that routes lead to are ready; with details, it lists their endpoints.
func (h *Handler) readiness(details bool) report {
	services := h.app.Services()
	checks := make(map[string][]check, len(services))
	unready := 0
	for _, s := range services {
		status := s.Status()
		if status.Ready == 0 {
			unready++
		}
		if details {
			checks[s.Name()+":ready"] = endpointChecks(status)
		}
	}
	answer := report{Status: statusPass}
	if unready > 0 {
		answer.Status = statusFail
		answer.Output = fmt.Sprintf("services without a ready endpoint: %d of %d", unready, len(services))
	}
	if details {
		answer.Checks = checks
	}
	return answer
}

// endpointChecks returns a check for each endpoint of a service.
func endpointChecks(s registry.ServiceStatus) []check {
	if len(s.Endpoints) == 0 {
		return []check{{ComponentType: "system", Status: statusFail, ObservedValue: "none", Time: s.Since, Output: edge.ServiceProblem(s)}}
	}
	checks := make([]check, 0, len(s.Endpoints))
	for _, e := range s.Endpoints {
		c := check{
			ComponentID: e.Address, ComponentType: "system", Status: statusFail,
			ObservedValue: string(e.State), Time: e.Since, Output: e.Reason,
		}
		if e.State == registry.Ready {
			c.Status, c.Output = statusPass, ""
		}
		checks = append(checks, c)
	}
	return checks
}
