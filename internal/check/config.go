package check

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"net/url"
	"os"
	"slices"
	"strings"
)

// shippedConfig is where the image has its configuration.
const shippedConfig = "/etc/edge/Caddyfile"

// configuration adapts and validates the edge's configuration, with the environment that the compose file gives it and the
// files that it mounts. It returns nil if there is none to go on with.
func (c *Check) configuration(ctx context.Context, s *stack) (*config, Finding) {
	file := c.Config
	if file == "" {
		inside := configOf(s.edge.Command)
		var mounted bool
		if file, mounted = s.edge.onHost(inside); !mounted {
			return nil, warning("configuration", "name the file with --config", "%s of %s is in its image, and was not looked at, nor what it would say about routes and domains", inside, c.Edge)
		}
	}
	invalid := func(err error) Finding {
		text := err.Error()
		if !strings.HasPrefix(text, file+":") {
			text = file + ": " + text
		}
		return failure("configuration", "mend it, and see what becomes of it: edge adapt --config "+file, "%s", text)
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
	if err := c.Validate(ctx, s.edge.relocate(text), env); err != nil {
		return parsed, invalid(err)
	}
	return parsed, ok("configuration", "%s is valid (sites: %d, services: %d)", file, len(parsed.hosts), len(parsed.services))
}

// configOf returns the configuration that a command line of the edge names.
func configOf(command []string) string {
	for i, arg := range command {
		if value, found := strings.CutPrefix(arg, "--config="); found {
			return value
		}
		if arg == "--config" && i+1 < len(command) {
			return command[i+1]
		}
	}
	return shippedConfig
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

// relocate has a configuration name files where they are on this machine.
func (s *service) relocate(text []byte) []byte {
	var all any
	if json.Unmarshal(text, &all) != nil {
		return text
	}
	walk(all, func(object map[string]any) {
		for key, value := range object {
			switch value := value.(type) {
			case string:
				if source, found := s.onHost(value); found {
					object[key] = source
				}
			case []any:
				for i, item := range value {
					if path, isText := item.(string); isText {
						if source, found := s.onHost(path); found {
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

// config is what is checked of Caddy's JSON.
type config struct {
	hosts       []string // of sites that have one, sorted
	services    []string // NAME:PORT of services that containers are found for, sorted
	endpoint    string   // the Engine, or the guard
	authorities []string // addresses of ACME directories, sorted
}

// letsEncrypt is where certificates come from unless the configuration says otherwise.
const letsEncrypt = "https://acme-v02.api.letsencrypt.org/directory"

func parseConfig(text []byte) (*config, error) {
	var all struct {
		Apps struct {
			Edge struct {
				Endpoint string
				Static   map[string][]string
			}
			HTTP any
			TLS  any
		}
	}
	if err := json.NewDecoder(bytes.NewReader(text)).Decode(&all); err != nil {
		return nil, fmt.Errorf("read the adapted configuration: %w", err)
	}
	c := &config{endpoint: all.Apps.Edge.Endpoint}
	hosts, services, authorities := make(map[string]bool), make(map[string]bool), make(map[string]bool)
	walk(all.Apps.HTTP, func(object map[string]any) {
		for _, host := range texts(object["host"]) {
			hosts[strings.ToLower(host)] = true
		}
		for _, service := range servicesOf(object) {
			if _, static := all.Apps.Edge.Static[service]; !static {
				services[service] = true
			}
		}
	})
	walk(all.Apps.TLS, func(object map[string]any) {
		if object["module"] == "acme" {
			ca, _ := object["ca"].(string)
			if ca == "" {
				ca = letsEncrypt
			}
			authorities[ca] = true
		}
	})
	if len(authorities) == 0 {
		authorities[letsEncrypt] = true
	}
	c.hosts, c.services, c.authorities = slices.Sorted(maps.Keys(hosts)), slices.Sorted(maps.Keys(services)), slices.Sorted(maps.Keys(authorities))
	return c, nil
}

// servicesOf returns the services that a handler sends requests to.
func servicesOf(handler map[string]any) (all []string) {
	transport, _ := handler["transport"].(map[string]any)
	dynamic, _ := handler["dynamic_upstreams"].(map[string]any)
	switch {
	case handler["handler"] != "reverse_proxy":
	case transport["protocol"] == "edge":
		if service, found := transport["service"].(string); found {
			all = append(all, service)
		}
	case dynamic["source"] == "docker_dns":
		if service, found := dynamic["service"].(string); found {
			all = append(all, service)
		}
	default:
		upstreams, _ := handler["upstreams"].([]any)
		for _, upstream := range upstreams {
			object, _ := upstream.(map[string]any)
			if dial, found := object["dial"].(string); found && isName(dial) {
				all = append(all, dial)
			}
		}
	}
	return all
}

// isName reports whether an upstream of Caddy's own is the name of a container rather than an address.
func isName(dial string) bool {
	u, err := url.Parse("tcp://" + dial)
	if err != nil || u.Port() == "" || strings.ContainsAny(dial, "{/") {
		return false
	}
	host := u.Hostname()
	return host != "localhost" && !strings.ContainsAny(host, ".:") && host != ""
}

// walk calls visit with every object of a JSON document.
func walk(value any, visit func(map[string]any)) {
	switch value := value.(type) {
	case map[string]any:
		visit(value)
		for _, child := range value {
			walk(child, visit)
		}
	case []any:
		for _, child := range value {
			walk(child, visit)
		}
	}
}

// texts returns the strings of a list.
func texts(value any) (all []string) {
	list, _ := value.([]any)
	for _, item := range list {
		if text, isText := item.(string); isText {
			all = append(all, text)
		}
	}
	return all
}
