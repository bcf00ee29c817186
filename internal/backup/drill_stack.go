package backup

import (
	"encoding/json"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"slices"
	"strconv"
	"strings"

	"github.com/theworklabs/edge/internal/compose"
	"github.com/theworklabs/edge/internal/lowpriority"
)

// drillSuffix is added to the name of a project for the project of its drills.
const drillSuffix = "-drill"

// DrillLabel is a label of a drill's containers. The edge takes no notice of them: to an edge that serves all projects, they would be other
// containers of the same names.
const DrillLabel = "edge.drill"

// silencedVariables are the beginnings of variables with which applications reach mail servers and object stores. A drill has them empty.
var silencedVariables = []string{"MAIL_", "SMTP_", "S3_", "AWS_"}

// drillVariables keep applications from acting by themselves: Corteza's scheduler runs workflows.
var drillVariables = map[string]string{"EVENTBUS_SCHEDULER_ENABLED": "false"}

// drillStack turns a project, as `docker compose config --format json` prints it, into the project of a drill: with the same images and volumes
// of its own, without ports, and with networks from which nothing gets out. Services that reach Docker, the edge and its gate are left out. isDirectory
// tells whether a path of this machine is a directory. The containers use the named processors, or all if that is empty.
func drillStack(text []byte, edge, processors string, isDirectory func(string) bool) ([]byte, error) {
	var project struct {
		Name     string                    `json:"name"`
		Services map[string]map[string]any `json:"services"`
		Networks map[string]any            `json:"networks"`
		Volumes  map[string]any            `json:"volumes"`
		Configs  map[string]any            `json:"configs,omitempty"`
		Secrets  map[string]any            `json:"secrets,omitempty"`
	}
	if err := json.Unmarshal(text, &project); err != nil {
		return nil, fmt.Errorf("read the output of `docker compose config`: %w", err)
	}
	for name := range project.Networks {
		project.Networks[name] = map[string]any{"internal": true}
	}
	for name := range project.Volumes {
		project.Volumes[name] = map[string]any{}
	}
	if project.Volumes == nil {
		project.Volumes = make(map[string]any)
	}
	gate, err := gateOf(text, edge)
	if err != nil {
		return nil, err
	}
	for name, service := range project.Services {
		if name == edge || name == gate || mountsDocker(service) {
			delete(project.Services, name)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(project.Services)) {
		service := project.Services[name]
		if service["image"] == nil {
			service["image"] = project.Name + "-" + name // that Compose has built
		}
		for _, key := range []string{"build", "ports", "container_name", "profiles", "extra_hosts", "hostname", "links", "external_links", "dns", "pid", "ipc", "scale", "volumes_from", "devices", "privileged"} {
			delete(service, key)
		}
		service["restart"], service["pull_policy"] = "no", "never"
		labels, _ := service["labels"].(map[string]any)
		if labels == nil {
			labels = make(map[string]any)
			service["labels"] = labels
		}
		labels[DrillLabel] = "true"
		if shares := lowpriority.CPUShares(); shares > 0 {
			service["cpu_shares"] = shares
		}
		if processors != "" {
			service["cpuset"] = processors
		}
		if mode, _ := service["network_mode"].(string); mode != "" && !strings.HasPrefix(mode, "service:") {
			service["network_mode"] = "none"
		}
		if networks, ok := service["networks"].(map[string]any); ok {
			for network := range networks {
				networks[network] = nil // without fixed addresses, and aliases, which are names of the outside
			}
		}
		if dependencies, ok := service["depends_on"].(map[string]any); ok {
			maps.DeleteFunc(dependencies, func(other string, _ any) bool { return project.Services[other] == nil })
		}
		silence(service)
		removeSockets(service, isDirectory)
		for i, mount := range mountsOf(service) {
			source, _ := mount["source"].(string)
			if mount["type"] == "bind" && mount["read_only"] != true && isDirectory(source) {
				volume := "drill_" + name + "_" + strconv.Itoa(i)
				project.Volumes[volume] = map[string]any{}
				mount["type"], mount["source"] = "volume", volume
				delete(mount, "bind")
			} else if mount["type"] == "bind" {
				mount["read_only"] = true // a file of the project itself
			}
		}
	}
	project.Name += drillSuffix
	return json.MarshalIndent(project, "", "  ")
}

// removeSockets removes mounts by which a service reaches programs of this machine, such as the socket of a database: to mount it read-only does not keep anybody from connecting.
// Directories that it can write to become empty volumes anyway.
func removeSockets(service map[string]any, isDirectory func(string) bool) {
	entries, hasVolumes := service["volumes"].([]any)
	if !hasVolumes {
		return
	}
	service["volumes"] = slices.DeleteFunc(entries, func(entry any) bool {
		mount, _ := entry.(map[string]any)
		source, _ := mount["source"].(string)
		isData := mount["read_only"] != true && isDirectory(source)
		return mount["type"] == "bind" && !isData && (isInside(source, "/run") || isInside(source, "/var/run") || isSocket(source))
	})
}

// isSocket reports whether a path is a socket of this machine, or a directory that has one.
func isSocket(name string) bool {
	info, err := os.Stat(name)
	if err != nil || !info.IsDir() {
		return err == nil && info.Mode().Type() == fs.ModeSocket
	}
	entries, err := os.ReadDir(name)
	return err == nil && slices.ContainsFunc(entries, func(e fs.DirEntry) bool { return e.Type() == fs.ModeSocket })
}

// silence empties the variables of a service by which it reaches others.
func silence(service map[string]any) {
	environment, _ := service["environment"].(map[string]any)
	for variable := range environment {
		if slices.ContainsFunc(silencedVariables, func(start string) bool { return strings.HasPrefix(variable, start) }) {
			environment[variable] = ""
		}
	}
	if environment != nil {
		for variable, value := range drillVariables {
			environment[variable] = value
		}
	}
}

func mountsOf(service map[string]any) (all []map[string]any) {
	entries, _ := service["volumes"].([]any)
	for _, entry := range entries {
		if mount, ok := entry.(map[string]any); ok {
			all = append(all, mount)
		}
	}
	return all
}

// gateOf returns the name of the edge's gate, or "".
func gateOf(text []byte, edge string) (string, error) {
	stack, err := compose.ParseStack(string(text))
	if err != nil || stack.Services[edge] == nil {
		return "", err
	}
	if gate := stack.Gate(stack.Services[edge]); gate != nil {
		return gate.Name, nil
	}
	return "", nil
}

// mountsDocker reports whether a service has the socket of Docker.
func mountsDocker(service map[string]any) bool {
	return slices.ContainsFunc(mountsOf(service), func(mount map[string]any) bool {
		source, _ := mount["source"].(string)
		target, _ := mount["target"].(string)
		return strings.HasSuffix(source, "docker.sock") || strings.HasSuffix(target, "docker.sock")
	})
}
