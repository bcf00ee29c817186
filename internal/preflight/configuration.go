package preflight

import (
	"cmp"
	"context"
	"encoding/json"
	"maps"
	"os"
	"regexp"
	"slices"
	"strings"

	"github.com/theworklabs/edge/internal/compose"
)

// Paths of the configuration in a container: that of this project's image, and that of the official Caddy image, which `edge serve`
// accepts, too.
const (
	edgeConfigPath  = "/etc/edge/Caddyfile"
	caddyConfigPath = "/etc/caddy/Caddyfile"
)

// checkConfiguration adapts and validates the edge's configuration, with the environment and the files that the compose file gives
// the edge. It returns nil if it cannot read the configuration.
func (c *Check) checkConfiguration(ctx context.Context, s *stack) (*edgeConfig, Finding) {
	file := c.Config
	if file == "" {
		if mountsTwoConfigs(s.edge) {
			return nil, errorFinding("configuration", "mount only one of them", "%s mounts both %s and %s: it does not start", c.Edge, edgeConfigPath, caddyConfigPath)
		}
		path := configPath(s.edge)
		var mounted bool
		if file, mounted = s.edge.HostPath(path); !mounted {
			return nil, warningFinding("configuration", "name the file with --config", "%s of %s is in its image, so the configuration, its routes and its domains are not checked", path, c.Edge)
		}
	}
	invalid := func(err error) Finding {
		text := err.Error()
		if !strings.HasPrefix(text, file+":") {
			text = file + ": " + text
		}
		if path := containerOnlyPath(s.edge, text); path != "" {
			return warningFinding("configuration", "docker compose run --rm --no-deps "+c.Edge+" validate --config "+configPath(s.edge), "%s; but %s is in the container, and cannot be read from here", text, path)
		}
		if module := missingModule(text); module != "" {
			return errorFinding("configuration", "remove it from "+file+", or build an edge with it: xcaddy build --with github.com/theworklabs/edge --with PACKAGE; https://caddyserver.com/download names the package", "%s; the module %s is not part of this edge", text, module)
		}
		return errorFinding("configuration", "correct it, and see the JSON that it becomes: edge adapt --config "+file, "%s", text)
	}
	env := environ(s.edge)
	text, err := c.Adapt(ctx, file, env)
	if err != nil {
		return nil, invalid(err)
	}
	parsed, err := parseConfig(text)
	if err != nil {
		return nil, invalid(err)
	}
	if err := c.Validate(ctx, withHostPaths(s.edge, text), env); err != nil {
		return parsed, invalid(err)
	}
	return parsed, okFinding("configuration", "%s is valid (sites: %d, services: %d)", file, len(parsed.hosts), len(parsed.services))
}

// notRegisteredPattern matches Caddy's error for a module that is not built in.
var notRegisteredPattern = regexp.MustCompile(`module not registered: ([\w.-]+)|unknown module: ([\w.-]+)`)

// missingModule returns the Caddy module that an error says is not built in, or "".
func missingModule(text string) string {
	match := notRegisteredPattern.FindStringSubmatch(text)
	if match == nil {
		return ""
	}
	return cmp.Or(match[1], match[2])
}

// containerOnlyPath returns the mount point in the container of which an error names a file, or "". This machine does not have such
// a file, or has it at another path.
func containerOnlyPath(s *compose.Service, text string) string {
	for _, m := range s.Volumes {
		if strings.Contains(text, strings.TrimSuffix(m.Target, "/")+"/") {
			return m.Target
		}
	}
	return ""
}

// configPath returns the path of an edge's configuration in its container.
func configPath(s *compose.Service) string {
	if path := configFlag(s.Command); path != "" {
		return path
	}
	if hasMountAt(s, caddyConfigPath) && !hasMountAt(s, edgeConfigPath) {
		return caddyConfigPath
	}
	return edgeConfigPath
}

// mountsTwoConfigs reports whether an edge has a configuration at both paths, and its command names none of them.
func mountsTwoConfigs(s *compose.Service) bool {
	return configFlag(s.Command) == "" && hasMountAt(s, caddyConfigPath) && hasMountAt(s, edgeConfigPath)
}

// hasMountAt reports whether a bind mount of the service contains a path.
func hasMountAt(s *compose.Service, path string) bool {
	_, found := s.HostPath(path)
	return found
}

// configFlag returns the value of --config in a command, or "".
func configFlag(command []string) string {
	for i, arg := range command {
		if value, found := strings.CutPrefix(arg, "--config="); found {
			return value
		}
		if (arg == "--config" || arg == "-c") && i+1 < len(command) {
			return command[i+1]
		}
	}
	return ""
}

// environ returns a service's environment as [os.Environ] does.
func environ(s *compose.Service) []string {
	var env []string
	for _, name := range slices.Sorted(maps.Keys(s.Environment)) {
		if value := s.Environment[name]; value != nil {
			env = append(env, name+"="+*value)
		} else if value, set := os.LookupEnv(name); set { // Compose passes it through
			env = append(env, name+"="+value)
		}
	}
	return env
}

// withHostPaths replaces the paths of mounted files in a JSON configuration by their paths on this machine.
func withHostPaths(s *compose.Service, text []byte) []byte {
	var all any
	if json.Unmarshal(text, &all) != nil {
		return text
	}
	walkObjects(all, func(object map[string]any) {
		for key, value := range object {
			switch value := value.(type) {
			case string:
				if source, found := s.HostPath(value); found {
					object[key] = source
				}
			case []any:
				for i, item := range value {
					if path, isText := item.(string); isText {
						if source, found := s.HostPath(path); found {
							value[i] = source
						}
					}
				}
			}
		}
	})
	replaced, err := json.Marshal(all)
	if err != nil {
		return text
	}
	return replaced
}
