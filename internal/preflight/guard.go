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
)

// dockerSocketName is how Docker's socket is called, wherever it is.
const dockerSocketName = "docker.sock"

// checkGuard sees that nobody but a guard has Docker's socket, and that nobody but the edge reaches the guard.
func (c *Check) checkGuard(s *stack, config *edgeConfig) []Finding {
	var all []Finding
	for _, service := range s.activeServices() {
		for _, m := range service.Volumes {
			if path.Base(m.Target) != dockerSocketName && path.Base(m.Source) != dockerSocketName {
				continue
			}
			if service == s.edge {
				all = append(all, errorFinding("guard", "run edge guard in a service of its own, as the shipped compose file does, and say endpoint tcp://docker-guard:2375", "%s has Docker's socket: whoever owns it owns this machine", c.Edge))
			} else if service != s.serviceByHost(tcpHostname(config.dockerHost)) {
				all = append(all, warningFinding("guard", "does it need it? It is as good as root on this machine", "%s has Docker's socket", service.name))
			}
		}
	}
	all = append(all, c.checkGuardService(s, config.dockerHost)...)
	switch {
	case len(all) > 0:
		return all
	case config.dockerHost == "":
		return []Finding{okFinding("guard", "no Docker Engine is asked: containers are found by DNS alone")}
	}
	return []Finding{okFinding("guard", "only %s reaches what answers for %s, as far as this compose file says", c.Edge, config.dockerHost)}
}

// checkGuardService looks at the service that is named as the Engine's endpoint.
func (c *Check) checkGuardService(s *stack, endpoint string) []Finding {
	host := tcpHostname(endpoint)
	if host == "" {
		return nil // none, or a socket, whose mount is looked at above
	}
	to := s.serviceByHost(host)
	switch {
	case to == nil && (isExternalHost(host) || s.isOnExternalNetwork()):
		return nil // of another machine, or of another compose file
	case to == nil:
		return []Finding{errorFinding("guard", "correct the endpoint, or add the service", "the endpoint is %s, and the compose file has no service %s", endpoint, host)}
	case !s.isActive(to.name):
		return []Finding{errorFinding("guard", "add --profile "+strings.Join(to.Profiles, " or --profile "), "the endpoint is %s, and %s is of a profile that is not in use", endpoint, to.name)}
	}
	shared := sharedNetworks(s.edge, to)
	if len(shared) == 0 {
		return []Finding{errorFinding("guard", "put both on a network of their own: internal: true", "the endpoint is %s, and %s and %s have no network in common", endpoint, c.Edge, to.name)}
	}
	var all []Finding
	for _, name := range slices.Sorted(maps.Keys(to.Networks)) {
		for _, other := range s.activeServices() {
			if _, on := other.Networks[name]; on && other != s.edge && other != to {
				all = append(all, warningFinding("guard", "give "+to.name+" and "+c.Edge+" a network that nobody else is on", "%s reaches %s, by the network %s", other.name, to.name, name))
			}
		}
		if n := s.Networks[name]; !n.Internal && !n.isExternal() {
			all = append(all, warningFinding("guard", "internal: true", "the network %s of %s has a way out", name, to.name))
		}
	}
	return all
}

func tcpHostname(endpoint string) string {
	u, err := url.Parse(endpoint)
	if err != nil || u.Scheme != "tcp" {
		return ""
	}
	return u.Hostname()
}

// forbiddenRequests is what a guard has to answer with 403. None of it would do any harm if it were let through: there is no such
// container.
var forbiddenRequests = []struct{ method, path string }{
	{http.MethodGet, "/info"},
	{http.MethodGet, "/images/json"},
	{http.MethodGet, "/containers/edge-check/json"},
	{http.MethodGet, "/containers/edge-check/archive?path=/"},
	{http.MethodPost, "/containers/edge-check/start"},
	{http.MethodPost, "/containers/edge-check/exec"},
	{http.MethodDelete, "/containers/edge-check"},
}

// maxListBytes is how much of a list is looked at.
const maxListBytes = 4 << 20

// CheckDockerHost asks an endpoint of the Engine what it lets through: the list of containers, without command lines and mounts, and
// nothing else.
func CheckDockerHost(ctx context.Context, endpoint string) Finding {
	const bare = "put edge guard between the edge and Docker, as the shipped compose file does"
	host, found := strings.CutPrefix(endpoint, "tcp://")
	if !found {
		return warningFinding("guard", bare, "the edge asks Docker's socket %s itself: whoever owns it owns this machine", endpoint)
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
			_ = json.NewDecoder(io.LimitReader(resp.Body, maxListBytes)).Decode(&list) // what is no list is none
		}
		return resp.StatusCode, list, nil
	}
	status, list, err := ask(http.MethodGet, "/containers/json")
	if err == nil && status != http.StatusOK {
		err = fmt.Errorf("it answered %d", status)
	}
	if err != nil {
		return inconclusiveFinding("guard", "docker compose logs docker-guard; does it run, and may it open Docker's socket? Until then containers are found by DNS alone", err, "%s can't be asked for the containers", endpoint)
	}
	for _, container := range list {
		for _, secret := range []string{"Command", "Mounts"} {
			if value := container[secret]; value != nil && value != "" {
				return errorFinding("guard", bare, "%s passes %s of containers, which may hold secrets", endpoint, secret)
			}
		}
	}
	for _, q := range forbiddenRequests {
		status, _, err := ask(q.method, q.path)
		if err != nil {
			return inconclusiveFinding("guard", "docker compose logs docker-guard", err, "%s: %s %s", endpoint, q.method, q.path)
		}
		if status != http.StatusForbidden {
			return errorFinding("guard", bare, "%s does not refuse %s %s (it answered %d): whoever owns the edge owns this machine", endpoint, q.method, q.path, status)
		}
	}
	return okFinding("guard", "%s lists containers, and refuses the %d other things that were asked of it", endpoint, len(forbiddenRequests))
}
