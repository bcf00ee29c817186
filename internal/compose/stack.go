package compose

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
)

// Stack is the content of a project's compose files, as `docker compose config --format json` prints it. It has the fields that
// Edge reads, and no others.
type Stack struct {
	Name     string                `json:"name"` // the project's name
	Services map[string]*Service   `json:"services"`
	Networks map[string]Network    `json:"networks"`
	Volumes  map[string]Volume     `json:"volumes"`
	Configs  map[string]FileObject `json:"configs"`
	Secrets  map[string]FileObject `json:"secrets"`
	Backup   json.RawMessage       `json:"x-edge-backup"` // see internal/backup
}

// Network is a network of the project.
type Network struct {
	Name     string `json:"name"`     // its name in Docker
	External any    `json:"external"` // see [Network.IsExternal]
	Internal bool   `json:"internal"` // containers on it cannot reach other networks
}

// IsExternal reports whether Compose expects the network to exist, and does not create it.
func (n Network) IsExternal() bool { return isExternal(n.External) }

// Volume is a named volume of the project.
type Volume struct {
	Name     string            `json:"name"`     // its name in Docker
	External any               `json:"external"` // see [Volume.IsExternal]
	Options  map[string]string `json:"driver_opts"`
}

// IsInMemory reports whether what is in the volume is lost when no container uses it.
func (v Volume) IsInMemory() bool { return v.Options["type"] == "tmpfs" }

// IsExternal reports whether Compose expects the volume to exist, and does not create it.
func (v Volume) IsExternal() bool { return isExternal(v.External) }

// isExternal reads the value of external: a boolean, or an object with a name in old compose files.
func isExternal(value any) bool { return value != nil && value != false }

// FileObject is a config or a secret of the project, or a service's reference to one.
type FileObject struct {
	File   string `json:"file"`   // the path on this machine; only in the project's entry
	Source string `json:"source"` // the key of the project's entry; only in a reference
	Target string `json:"target"` // the path in the container; only in a reference
}

// ParseStack reads the output of `docker compose config --format json`. Compose prints each $ as $$, so that its output can be
// used as a compose file; ParseStack undoes that.
func ParseStack(text string) (*Stack, error) {
	s := new(Stack)
	if err := json.Unmarshal([]byte(strings.ReplaceAll(text, "$$", "$")), s); err != nil {
		return nil, fmt.Errorf("read the output of `docker compose config`: %w", err)
	}
	for name, service := range s.Services {
		if service == nil {
			service = new(Service)
			s.Services[name] = service
		}
		service.Name = name
		for i := range service.Ports {
			if service.Ports[i].Protocol == "" {
				service.Ports[i].Protocol = "tcp"
			}
		}
		for i := range service.Volumes {
			if m := &service.Volumes[i]; m.Type == "volume" && s.Volumes[m.Source].IsInMemory() {
				m.Type = "tmpfs"
			}
		}
	}
	return s, nil
}

// GateVariable is the variable of the edge with the path of its gate's socket.
const GateVariable = "EDGE_GATE"

// Gate returns the service that opens the sockets of the edge, whose unix socket is in a volume or a directory that both mount; nil if the
// edge has none.
func (s *Stack) Gate(edge *Service) *Service {
	socket := edge.Environment[GateVariable]
	if socket == nil || *socket == "" {
		return nil
	}
	for _, m := range edge.Volumes {
		if m.Source == "" || !strings.HasPrefix(*socket, strings.TrimSuffix(m.Target, "/")+"/") {
			continue
		}
		for _, name := range s.ServiceNames() {
			other := s.Services[name]
			if other != edge && slices.ContainsFunc(other.Volumes, func(o Mount) bool { return o.Source == m.Source }) {
				return other
			}
		}
	}
	return nil
}

// ServiceNames returns the names of the services, sorted.
func (s *Stack) ServiceNames() []string { return slices.Sorted(maps.Keys(s.Services)) }

// ImageName returns the image of a service. Compose names an image that it builds PROJECT-SERVICE unless the file names it.
func (s *Stack) ImageName(of *Service) string {
	if of.Image != "" {
		return of.Image
	}
	return s.Name + "-" + of.Name
}

// NetworkOwner returns the service whose network a service uses: itself, or NAME with network_mode service:NAME.
func (s *Stack) NetworkOwner(of *Service) *Service {
	if name, shared := strings.CutPrefix(of.NetworkMode, "service:"); shared && s.Services[name] != nil {
		return s.Services[name]
	}
	return of
}
