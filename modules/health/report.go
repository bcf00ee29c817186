package health

import (
	"fmt"
	"time"

	"github.com/theworklabs/edge/internal/registry"
)

// The statuses of a report, as the draft names them.
const (
	statusPass = "pass"
	statusFail = "fail"
)

// report is an answer in the shape of draft-inadarei-api-health-check-06.
type report struct {
	Status string             `json:"status"`
	Output string             `json:"output,omitempty"`
	Checks map[string][]check `json:"checks,omitempty"`
}

// check is one endpoint of a service, or the service itself when it has none.
type check struct {
	ComponentID   string    `json:"componentId,omitempty"` // the endpoint's address
	ComponentType string    `json:"componentType"`
	Status        string    `json:"status"`
	ObservedValue string    `json:"observedValue"` // the state
	Time          time.Time `json:"time"`          // since when
	Output        string    `json:"output,omitempty"`
}

// readiness reports on all services that are routed to; with details, also which they are.
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
		answer.Output = fmt.Sprintf("%d of %d services have no ready endpoint", unready, len(services))
	}
	if details {
		answer.Checks = checks
	}
	return answer
}

func endpointChecks(s registry.ServiceStatus) []check {
	if len(s.Endpoints) == 0 {
		output := "not looked for yet"
		switch {
		case s.Problem != "":
			output = s.Problem
		case s.Known:
			output = "its containers are stopped"
		case s.Source != "":
			output = "no container is known"
		}
		return []check{{ComponentType: "system", Status: statusFail, ObservedValue: "none", Time: s.Since, Output: output}}
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
