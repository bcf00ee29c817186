package compose

import (
	"encoding/json"
	"slices"
	"strings"
)

// Service is a service of a [Stack].
type Service struct {
	Name string `json:"-"` // the key in [Stack.Services]

	Image         string                       `json:"image"`
	Build         json.RawMessage              `json:"build"`
	PullPolicy    string                       `json:"pull_policy"`
	Entrypoint    []string                     `json:"entrypoint"`
	Command       []string                     `json:"command"`
	ContainerName string                       `json:"container_name"`
	Hostname      string                       `json:"hostname"`
	NetworkMode   string                       `json:"network_mode"`
	IPC           string                       `json:"ipc"`
	PID           string                       `json:"pid"`
	User          string                       `json:"user"`
	Environment   map[string]*string           `json:"environment"` // nil: the value comes from Compose's own environment
	Labels        map[string]string            `json:"labels"`
	Expose        []string                     `json:"expose"` // PORT, PORT/PROTOCOL or FIRST-LAST
	Ports         []Port                       `json:"ports"`
	Networks      map[string]NetworkAttachment `json:"networks"`
	Volumes       []Mount                      `json:"volumes"`
	VolumesFrom   []string                     `json:"volumes_from"` // NAME or NAME:ro
	Configs       []FileObject                 `json:"configs"`
	Secrets       []FileObject                 `json:"secrets"`
	DependsOn     map[string]Dependency        `json:"depends_on"`
	Profiles      []string                     `json:"profiles"`
	Links         []string                     `json:"links"`       // SERVICE:ALIAS
	ExtraHosts    []string                     `json:"extra_hosts"` // NAME=ADDRESS
	Scale         *int                         `json:"scale"`
	Deploy        Deploy                       `json:"deploy"`
	HealthCheck   HealthCheck                  `json:"healthcheck"`
}

// NetworkAttachment is a service's place on a network.
type NetworkAttachment struct {
	Aliases []string `json:"aliases"`
	IPv4    string   `json:"ipv4_address"`
	IPv6    string   `json:"ipv6_address"`
	MAC     string   `json:"mac_address"`
}

// Mount is an entry of a service's volumes: a bind mount, a volume or a tmpfs.
type Mount struct {
	Type     string      `json:"type"`   // bind, volume, tmpfs (also for a named volume in memory), …
	Source   string      `json:"source"` // a path on this machine, or a key of [Stack.Volumes]; empty for an anonymous volume
	Target   string      `json:"target"`
	ReadOnly bool        `json:"read_only"`
	Bind     BindOptions `json:"bind"`
}

// BindOptions are the options of a bind mount.
type BindOptions struct {
	CreateHostPath bool `json:"create_host_path"` // Docker creates a directory if the source does not exist
}

// Dependency says what a service waits for before it starts.
type Dependency struct {
	Condition string `json:"condition"`
}

// IsOneShot reports whether the dependency has to exit with status 0 first, such as a database migration.
func (d Dependency) IsOneShot() bool { return d.Condition == "service_completed_successfully" }

// Deploy is how many containers a service has.
type Deploy struct {
	Mode     string `json:"mode"`
	Replicas *int   `json:"replicas"`
}

// HealthCheck is Docker's own check of a service's containers.
type HealthCheck struct {
	Test []string `json:"test"`
}

// Replicas returns how many containers Compose starts for the service.
func (s *Service) Replicas() int {
	switch {
	case s.Scale != nil:
		return *s.Scale
	case s.Deploy.Replicas != nil:
		return *s.Deploy.Replicas
	default:
		return 1
	}
}

// HasBuild reports whether the compose file says how to build the image.
func (s *Service) HasBuild() bool { return len(s.Build) > 0 && string(s.Build) != "null" }

// HostPath returns where a path of the service's container is on this machine. It returns false if no bind mount contains the
// path.
func (s *Service) HostPath(path string) (source string, found bool) {
	longest := ""
	for _, m := range s.Volumes {
		isInside := path == m.Target || strings.HasPrefix(path, strings.TrimSuffix(m.Target, "/")+"/")
		if m.Type == "bind" && isInside && len(m.Target) > len(longest) {
			longest, source = m.Target, m.Source+strings.TrimPrefix(path, m.Target)
		}
	}
	return source, longest != ""
}

// SharedNetworks returns the networks that both services are on, sorted.
func SharedNetworks(a, b *Service) []string {
	var names []string
	for name := range a.Networks {
		if _, isShared := b.Networks[name]; isShared {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}
