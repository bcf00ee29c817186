package preflight

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"maps"
	"net/url"
	"slices"
	"strings"
)

// edgeConfig is what is checked of Caddy's JSON.
type edgeConfig struct {
	hosts                     []string // of sites that have one, sorted
	services                  []string // NAME:PORT of services that containers are found for, sorted
	dockerHost                string   // the Engine, or the guard
	project                   string   // whose containers are served, if not the edge's own
	acmeDirectories           []string // addresses of ACME directories, sorted
	privateHosts              []string // hosts whose certificates no public authority signs
	hasFileCertificates       bool     // there are certificates of files, for whichever hosts
	wildcardsWithoutChallenge []string // names with * that the edge asks a public authority for without a DNS challenge, sorted
	wildcardsWithChallenge    []string // names with * for which it has one, sorted
	listenAddresses           []string // addresses that the servers listen on, sorted
}

// tlsApp is what is checked of Caddy's app tls.
type tlsApp struct {
	Certificates map[string]any
	Automation   struct {
		Policies []automationPolicy
	}
}

// automationPolicy says how the certificates of some names, or of all others, are obtained.
type automationPolicy struct {
	Subjects []string
	Issuers  []issuer
	OnDemand bool  `json:"on_demand"`
	Managers []any `json:"get_certificate"`
}

type issuer struct {
	Module, CA string
	Challenges struct{ DNS any }
}

func (i issuer) isPublic() bool { return i.Module != "internal" }

// letsEncryptDirectory is where certificates come from unless the configuration says otherwise.
const letsEncryptDirectory = "https://acme-v02.api.letsencrypt.org/directory"

func parseConfig(text []byte) (*edgeConfig, error) {
	var all struct {
		Apps struct {
			Edge struct {
				Endpoint string
				Project  string
				Static   map[string][]string
			}
			HTTP json.RawMessage
			TLS  tlsApp
		}
	}
	if err := json.NewDecoder(bytes.NewReader(text)).Decode(&all); err != nil {
		return nil, fmt.Errorf("read the adapted configuration: %w", err)
	}
	c := &edgeConfig{dockerHost: all.Apps.Edge.Endpoint, project: all.Apps.Edge.Project}
	var routes any
	if len(all.Apps.HTTP) > 0 {
		if err := json.Unmarshal(all.Apps.HTTP, &routes); err != nil {
			return nil, fmt.Errorf("read the app http: %w", err)
		}
	}
	c.readServers(all.Apps.HTTP, all.Apps.TLS)
	hosts, services, authorities := make(map[string]bool), make(map[string]bool), make(map[string]bool)
	walkObjects(routes, func(object map[string]any) {
		for _, host := range stringItems(object["host"]) {
			hosts[strings.ToLower(host)] = true
		}
		for _, service := range servicesOf(object) {
			if _, static := all.Apps.Edge.Static[service]; !static {
				services[service] = true
			}
		}
	})
	for _, p := range all.Apps.TLS.Automation.Policies {
		for _, issuer := range p.Issuers {
			if issuer.Module == "acme" {
				authorities[cmp.Or(issuer.CA, letsEncryptDirectory)] = true
			}
		}
		if len(p.Issuers) > 0 && !slices.ContainsFunc(p.Issuers, issuer.isPublic) {
			c.privateHosts = append(c.privateHosts, p.Subjects...)
		}
	}
	for kind := range all.Apps.TLS.Certificates {
		c.hasFileCertificates = c.hasFileCertificates || strings.HasPrefix(kind, "load_")
	}
	if len(authorities) == 0 {
		authorities[letsEncryptDirectory] = true
	}
	c.hosts, c.services, c.acmeDirectories = slices.Sorted(maps.Keys(hosts)), slices.Sorted(maps.Keys(services)), slices.Sorted(maps.Keys(authorities))
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
			if dial, found := object["dial"].(string); found && isServiceName(dial) {
				all = append(all, dial)
			}
		}
	}
	return all
}

// isServiceName reports whether an upstream of Caddy's own is the name of a container rather than an address.
func isServiceName(dial string) bool {
	u, err := url.Parse("tcp://" + dial)
	if err != nil || u.Port() == "" || strings.ContainsAny(dial, "{/") {
		return false
	}
	host := u.Hostname()
	return host != "localhost" && !strings.ContainsAny(host, ".:") && host != ""
}

// walkObjects calls visit with every object of a JSON document, but for matchers of what is not to match.
func walkObjects(value any, visit func(map[string]any)) {
	switch value := value.(type) {
	case map[string]any:
		visit(value)
		for name, child := range value {
			if name != "not" {
				walkObjects(child, visit)
			}
		}
	case []any:
		for _, child := range value {
			walkObjects(child, visit)
		}
	}
}

// stringItems returns the strings of a list.
func stringItems(value any) (all []string) {
	list, _ := value.([]any)
	for _, item := range list {
		if text, isText := item.(string); isText {
			all = append(all, text)
		}
	}
	return all
}
