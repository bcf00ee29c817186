package socketproxy

import (
	"net/http"
	"net/url"
)

// AllowSwarm makes the proxy forward GET /tasks, /services and /nodes of a Swarm manager, stripped to what discovery needs: without
// environment variables, commands, mounts, secrets and configs. It must be called before the proxy serves.
func (p *Proxy) AllowSwarm() {
	p.routes["/tasks"] = stripped[[]swarmTask](p, "id", "desired-state")
	p.routes["/services"] = stripped[[]swarmService](p, "id")
	p.routes["/nodes"] = stripped[[]swarmNode](p, "id")
}

// stripped returns a handler that forwards a request without its query, except for these filters.
func stripped[T any](p *Proxy, filterNames ...string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) { serveStripped[T](p, w, r, url.Values{}, filterNames...) }
}

// swarmTask has the fields of a task that are forwarded.
type swarmTask struct {
	ID        string `json:"ID"`
	ServiceID string `json:"ServiceID,omitempty"`
	Slot      int    `json:"Slot,omitempty"`
	NodeID    string `json:"NodeID,omitempty"`
	Status    struct {
		State string `json:"State,omitempty"`
	} `json:"Status"`
	DesiredState        string            `json:"DesiredState,omitempty"`
	NetworksAttachments []swarmAttachment `json:"NetworksAttachments,omitempty"`
}

// swarmAttachment has the fields of a task's network that are forwarded.
type swarmAttachment struct {
	Network struct {
		ID   string `json:"ID"`
		Spec struct {
			Name string `json:"Name"`
		} `json:"Spec"`
	} `json:"Network"`
	Addresses []string `json:"Addresses"`
}

// swarmService has the fields of a service that are forwarded.
type swarmService struct {
	ID   string `json:"ID"`
	Spec struct {
		Name         string      `json:"Name"`
		Labels       stackLabels `json:"Labels"`
		TaskTemplate struct {
			Networks []struct {
				Aliases []string `json:"Aliases,omitempty"`
			} `json:"Networks,omitempty"`
		} `json:"TaskTemplate"`
	} `json:"Spec"`
}

// stackLabels has the labels of a service that are forwarded.
type stackLabels struct {
	Stack string `json:"com.docker.stack.namespace,omitempty"`
}

// swarmNode has the fields of a node that are forwarded.
type swarmNode struct {
	ID          string `json:"ID"`
	Description struct {
		Hostname string `json:"Hostname,omitempty"`
	} `json:"Description"`
	Status struct {
		State string `json:"State,omitempty"`
	} `json:"Status"`
}
