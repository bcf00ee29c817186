package rollout

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
)

// service is what a rollout reads of a service in the output of `docker compose config --format json`.
type service struct {
	name string

	Image         string                        `json:"image"`
	Build         json.RawMessage               `json:"build"`
	PullPolicy    string                        `json:"pull_policy"`
	ContainerName string                        `json:"container_name"`
	NetworkMode   string                        `json:"network_mode"`
	IPC           string                        `json:"ipc"`
	PID           string                        `json:"pid"`
	Ports         []port                        `json:"ports"`
	Volumes       []mount                       `json:"volumes"`
	VolumesFrom   []string                      `json:"volumes_from"`
	Networks      map[string]*networkAttachment `json:"networks"`
	DependsOn     map[string]dependency         `json:"depends_on"`
	Labels        map[string]string             `json:"labels"`
	Scale         *int                          `json:"scale"`
	Deploy        struct {
		Mode     string `json:"mode"`
		Replicas *int   `json:"replicas"`
	} `json:"deploy"`
}

type port struct {
	Published string `json:"published"` // "8080", "8000-8009", or empty for any that is free
	HostIP    string `json:"host_ip"`
}

type mount struct {
	Type     string `json:"type"`
	Source   string `json:"source"`
	Target   string `json:"target"`
	ReadOnly bool   `json:"read_only"`
}

type networkAttachment struct {
	IPv4 string `json:"ipv4_address"`
	IPv6 string `json:"ipv6_address"`
	MAC  string `json:"mac_address"`
}

type dependency struct {
	Condition string `json:"condition"`
}

// replicas returns how many containers the file asks for.
func (s service) replicas() int {
	switch {
	case s.Scale != nil:
		return *s.Scale
	case s.Deploy.Replicas != nil:
		return *s.Deploy.Replicas
	default:
		return 1
	}
}

// imageName returns the name of the service's image; project names images that only building makes.
func (s service) imageName(project string) string {
	if s.Image != "" {
		return s.Image
	}
	return project + "-" + s.name
}

// hasBuild reports whether the file says how to build the image.
func (s service) hasBuild() bool { return len(s.Build) > 0 && string(s.Build) != "null" }

// parseConfig reads the output of `docker compose config --format json`.
func parseConfig(text string) (project string, services map[string]service, err error) {
	var config struct {
		Name     string             `json:"name"`
		Services map[string]service `json:"services"`
	}
	if err := json.Unmarshal([]byte(text), &config); err != nil {
		return "", nil, fmt.Errorf("read what `docker compose config` printed: %w", err)
	}
	for name, s := range config.Services {
		s.name = name
		config.Services[name] = s
	}
	return config.Name, config.Services, nil
}

// oneShotDependencies returns the services that have to complete before the named one starts, those first that others wait for.
func oneShotDependencies(services map[string]service, name string) []string {
	var all []string
	for _, on := range slices.Sorted(maps.Keys(services[name].DependsOn)) {
		if _, known := services[on]; !known || services[name].DependsOn[on].Condition != "service_completed_successfully" {
			continue
		}
		for _, one := range append(oneShotDependencies(services, on), on) {
			if !slices.Contains(all, one) {
				all = append(all, one)
			}
		}
	}
	return all
}

// joinNames joins names for a sentence.
func joinNames(names []string) string { return strings.Join(names, ", ") }
