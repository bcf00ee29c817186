package preflight

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/theworklabs/edge/internal/compose"
)

// dockerSocketName is the file name of Docker's socket in any directory.
const dockerSocketName = "docker.sock"

// checkGuard checks that only a socket proxy, the guard, has Docker's socket, and that only the edge reaches the guard.
func (c *Check) checkGuard(s *stack, config *edgeConfig) []Finding {
	var all []Finding
	for _, service := range s.activeServices() {
		for _, m := range service.Volumes {
			if path.Base(m.Target) != dockerSocketName && path.Base(m.Source) != dockerSocketName {
				continue
			}
			if service == s.edge {
				all = append(all, errorFinding("guard", "run edge guard in a service of its own, as the shipped compose file does, and set docker_host tcp://docker-guard:2375", "%s has Docker's socket: an attacker who controls it controls this machine", c.Edge))
			} else if service != s.serviceByHost(tcpHostname(config.dockerHost)) {
				all = append(all, warningFinding("guard", "check that it needs the socket: access to it is as good as root on this machine", "%s has Docker's socket", service.Name))
			}
		}
	}
	all = append(all, c.checkGuardService(s, config.dockerHost)...)
	switch {
	case len(all) > 0:
		return all
	case config.dockerHost == "":
		return []Finding{okFinding("guard", "the edge uses no Docker Engine: it finds containers by DNS alone")}
	}
	return []Finding{okFinding("guard", "only %s reaches %s, as far as this compose file says", c.Edge, config.dockerHost)}
}

// checkGuardService checks the service that docker_host names.
func (c *Check) checkGuardService(s *stack, dockerHost string) []Finding {
	host := tcpHostname(dockerHost)
	if host == "" {
		return nil // none, or a socket, whose mount checkGuard checks
	}
	to := s.serviceByHost(host)
	switch {
	case to == nil && (isExternalHost(host) || s.isOnExternalNetwork()):
		return nil // on another machine, or of another compose file
	case to == nil:
		return []Finding{errorFinding("guard", "correct docker_host, or add the service", "docker_host is %s, and the compose file has no service %s", dockerHost, host)}
	case !s.isActive(to.Name):
		return []Finding{errorFinding("guard", "add --profile "+strings.Join(to.Profiles, " or --profile "), "docker_host is %s, and %s is of a profile that is not in use", dockerHost, to.Name)}
	}
	shared := compose.SharedNetworks(s.edge, to)
	if len(shared) == 0 {
		return []Finding{errorFinding("guard", "put both on a network of their own: internal: true", "docker_host is %s, and %s and %s have no network in common", dockerHost, c.Edge, to.Name)}
	}
	var all []Finding
	for _, name := range slices.Sorted(maps.Keys(to.Networks)) {
		for _, other := range s.activeServices() {
			if _, on := other.Networks[name]; on && other != s.edge && other != to {
				all = append(all, warningFinding("guard", "give "+to.Name+" and "+c.Edge+" a network that no other service is on", "%s reaches %s through the network %s", other.Name, to.Name, name))
			}
		}
		if n := s.Networks[name]; !n.Internal && !n.IsExternal() {
			all = append(all, warningFinding("guard", "internal: true", "the network %s of %s is not internal", name, to.Name))
		}
	}
	return all
}

// tcpHostname returns the host of a tcp:// address, or "".
func tcpHostname(dockerHost string) string {
	u, err := url.Parse(dockerHost)
	if err != nil || u.Scheme != "tcp" {
		return ""
	}
	return u.Hostname()
}

// forbiddenRequests are requests that a guard has to answer with 403. They are harmless if it lets them through, because no such
// container exists.
var forbiddenRequests = []struct{ method, path string }{
	{http.MethodGet, "/info"},
	{http.MethodGet, "/images/json"},
	{http.MethodGet, "/containers/edge-check/json"},
	{http.MethodGet, "/containers/edge-check/archive?path=/"},
	{http.MethodPost, "/containers/edge-check/start"},
	{http.MethodPost, "/containers/edge-check/exec"},
	{http.MethodDelete, "/containers/edge-check"},
}

// maxListBytes bounds how much of a container list is read.
const maxListBytes = 4 << 20

// CheckDockerHost checks that a Docker host, unix://PATH or tcp://HOST:PORT, is a guard: it lists containers without their command
// lines and mounts, and refuses all other requests. A finding is inconclusive if the host does not answer.
func CheckDockerHost(ctx context.Context, dockerHost string) Finding {
	const hint = "put edge guard between the edge and Docker, as the shipped compose file does"
	host, found := strings.CutPrefix(dockerHost, "tcp://")
	if !found {
		return warningFinding("guard", hint, "the edge uses Docker's socket %s itself: an attacker who controls the edge controls this machine", dockerHost)
	}
	client := &http.Client{Timeout: 5 * time.Second, Transport: &http.Transport{DisableKeepAlives: true}}
	ask := func(method, target string) (int, []map[string]any, error) {
		req, err := http.NewRequestWithContext(ctx, method, "http://"+host+target, nil)
		if err != nil {
			return 0, nil, err
		}
		resp, err := client.Do(req)
		if err != nil {
			return 0, nil, err
		}
		defer resp.Body.Close()
		var list []map[string]any
		if method == http.MethodGet && resp.StatusCode == http.StatusOK {
			_ = json.NewDecoder(io.LimitReader(resp.Body, maxListBytes)).Decode(&list) // anything but a list counts as an empty one
		}
		return resp.StatusCode, list, nil
	}
	status, list, err := ask(http.MethodGet, "/containers/json")
	if err == nil && status != http.StatusOK {
		err = fmt.Errorf("it answered %d", status)
	}
	if err != nil {
		return inconclusiveFinding("guard", "docker compose logs docker-guard; check that it runs and can open Docker's socket. Until then, the edge finds containers by DNS alone", err, "%s does not list containers", dockerHost)
	}
	for _, container := range list {
		for _, field := range []string{"Command", "Mounts"} {
			if value := container[field]; value != nil && value != "" {
				return errorFinding("guard", hint, "%s passes %s of containers, which may contain secrets", dockerHost, field)
			}
		}
	}
	for _, q := range forbiddenRequests {
		status, _, err := ask(q.method, q.path)
		if err != nil {
			return inconclusiveFinding("guard", "docker compose logs docker-guard", err, "%s: %s %s", dockerHost, q.method, q.path)
		}
		if status != http.StatusForbidden {
			return errorFinding("guard", hint, "%s does not refuse %s %s (it answered %d): an attacker who controls the edge controls this machine", dockerHost, q.method, q.path, status)
		}
	}
	return okFinding("guard", "%s lists containers, and refuses the %d other requests", dockerHost, len(forbiddenRequests))
}
