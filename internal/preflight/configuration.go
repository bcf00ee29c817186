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
)

// Where the image has its configuration, and where the official image of Caddy has, which `edge serve` takes too.
const (
	edgeConfigPath  = "/etc/edge/Caddyfile"
	caddyConfigPath = "/etc/caddy/Caddyfile"
)

// checkConfiguration adapts and validates the edge's configuration, with the environment that the compose file gives it and the
// files that it mounts. It returns nil if there is none to go on with.
func (c *Check) checkConfiguration(ctx context.Context, s *stack) (*edgeConfig, Finding) {
	file := c.Config
	if file == "" {
		if s.edge.mountsTwoConfigs() {
			return nil, errorFinding("configuration", "mount one of them only", "%s mounts both %s and %s: it does not start", c.Edge, edgeConfigPath, caddyConfigPath)
		}
		inside := s.edge.configPath()
		var mounted bool
		if file, mounted = s.edge.hostPath(inside); !mounted {
			return nil, warningFinding("configuration", "name the file with --config", "%s of %s is in its image, and was not looked at, nor what it would say about routes and domains", inside, c.Edge)
		}
	}
	invalid := func(err error) Finding {
		text := err.Error()
		if !strings.HasPrefix(text, file+":") {
			text = file + ": " + text
		}
		if inside := s.edge.containerOnlyPath(text); inside != "" {
			return warningFinding("configuration", "docker compose run --rm --no-deps "+c.Edge+" validate --config "+s.edge.configPath(), "%s; but %s is the container's own, and can't be looked at from here", text, inside)
		}
		if module := missingModule(text); module != "" {
			return errorFinding("configuration", "take it out of "+file+", or build an edge that has it: xcaddy build --with github.com/theworklabs/edge --with PACKAGE; https://caddyserver.com/download names the package", "%s; the module %s is not part of this edge", text, module)
		}
		return errorFinding("configuration", "mend it, and see what becomes of it: edge adapt --config "+file, "%s", text)
	}
	env := s.edge.environ()
	text, err := c.Adapt(ctx, file, env)
	if err != nil {
		return nil, invalid(err)
	}
	parsed, err := parseConfig(text)
	if err != nil {
		return nil, invalid(err)
	}
	if err := c.Validate(ctx, s.edge.withHostPaths(text), env); err != nil {
		return parsed, invalid(err)
	}
	return parsed, okFinding("configuration", "%s is valid (sites: %d, services: %d)", file, len(parsed.hosts), len(parsed.services))
}

// notRegisteredPattern is how Caddy reports a module that is not built in.
var notRegisteredPattern = regexp.MustCompile(`module not registered: ([\w.-]+)|unknown module: ([\w.-]+)`)

// missingModule returns the Caddy module that an error says is not built in, or "".
func missingModule(text string) string {
	match := notRegisteredPattern.FindStringSubmatch(text)
	if match == nil {
		return ""
	}
	return cmp.Or(match[1], match[2])
}

// containerOnlyPath returns the place of a container that an error is about, if it is one that this machine doesn't have, or has
// elsewhere: a volume, or a directory that an import names.
func (s *service) containerOnlyPath(text string) string {
	for _, m := range s.Volumes {
		if strings.Contains(text, strings.TrimSuffix(m.Target, "/")+"/") {
			return m.Target
		}
	}
	return ""
}

// configPath returns where the service, an edge, has its configuration in its container.
func (s *service) configPath() string {
	if named := configFlag(s.Command); named != "" {
		return named
	}
	if s.hasMountAt(caddyConfigPath) && !s.hasMountAt(edgeConfigPath) {
		return caddyConfigPath
	}
	return edgeConfigPath
}

// mountsTwoConfigs reports whether the service has two configurations, of which its command names none.
func (s *service) mountsTwoConfigs() bool {
	return configFlag(s.Command) == "" && s.hasMountAt(caddyConfigPath) && s.hasMountAt(edgeConfigPath)
}

// hasMountAt reports whether a file of the host is at a path of the container.
func (s *service) hasMountAt(path string) bool {
	_, found := s.hostPath(path)
	return found
}

// configFlag returns the configuration that a command names, or "".
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

// environ returns a service's environment, in the form of [os.Environ].
func (s *service) environ() []string {
	var env []string
	for _, name := range slices.Sorted(maps.Keys(s.Environment)) {
		if value := s.Environment[name]; value != nil {
			env = append(env, name+"="+*value)
		} else if value, set := os.LookupEnv(name); set { // passed through
			env = append(env, name+"="+value)
		}
	}
	return env
}

// withHostPaths has a configuration name files where they are on this machine.
func (s *service) withHostPaths(text []byte) []byte {
	var all any
	if json.Unmarshal(text, &all) != nil {
		return text
	}
	walkObjects(all, func(object map[string]any) {
		for key, value := range object {
			switch value := value.(type) {
			case string:
				if source, found := s.hostPath(value); found {
					object[key] = source
				}
			case []any:
				for i, item := range value {
					if path, isText := item.(string); isText {
						if source, found := s.hostPath(path); found {
							value[i] = source
						}
					}
				}
			}
		}
	})
	moved, err := json.Marshal(all)
	if err != nil { // it came from JSON
		return text
	}
	return moved
}
