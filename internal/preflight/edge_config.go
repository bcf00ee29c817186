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

// edgeConfig is the part of Caddy's JSON configuration that the checks use.
type edgeConfig struct {
	hosts                     []string        // host names of the sites, sorted
	services                  []string        // names of the services that the edge finds containers for, NAME:PORT or PROJECT/NAME:PORT; sorted
	dockerHost                string          // address of the Docker Engine, or of the guard in front of it
	projects                  []string        // Compose projects whose containers the edge serves; none: its own
	acmeDirectories           []string        // URLs of ACME directories, sorted
	privateHosts              []string        // hosts that get no certificate from a public authority
	plainHosts                []string        // hosts of servers on the HTTP port, sorted
	hasFileCertificates       bool            // some hosts have certificates from files; it is not known which
	wildcardsWithoutChallenge []string        // wildcards that need a public certificate, without a DNS challenge; sorted
	wildcardsWithChallenge    []string        // wildcards with a DNS challenge, sorted
	listenAddresses           []listenAddress // addresses of the servers, sorted
}

// tlsApp is the part of Caddy's app tls that the checks use.
type tlsApp struct {
	Certificates map[string]any
	Automation   struct {
		Policies []automationPolicy
	}
}

// automationPolicy says how Caddy obtains certificates for its subjects, or for all other names if it has none.
type automationPolicy struct {
	Subjects []string
	Issuers  []issuer
	OnDemand bool  `json:"on_demand"`
	Managers []any `json:"get_certificate"`
}

// issuer is a source of certificates.
type issuer struct {
	Module, CA string
	Challenges struct{ DNS any }
}

// isPublic reports whether a public authority issues the certificates.
func (i issuer) isPublic() bool { return i.Module != "internal" }

// letsEncryptDirectory is Caddy's default ACME directory.
const letsEncryptDirectory = "https://acme-v02.api.letsencrypt.org/directory"

// parseConfig reads Caddy's JSON configuration.
func parseConfig(text []byte) (*edgeConfig, error) {
	var document struct {
		Modules struct {
			Edge struct {
				DockerHost string `json:"docker_host"`
				Endpoint   string // the name of docker_host until 1.0
				Project    string
				Projects   []string
				Static     map[string][]string
			}
			HTTP json.RawMessage
			TLS  tlsApp
		} `json:"apps"`
	}
	if err := json.NewDecoder(bytes.NewReader(text)).Decode(&document); err != nil {
		return nil, fmt.Errorf("read the adapted configuration: %w", err)
	}
	config := document.Modules
	c := &edgeConfig{dockerHost: cmp.Or(config.Edge.DockerHost, config.Edge.Endpoint), projects: config.Edge.Projects}
	if config.Edge.Project != "" {
		c.projects = []string{config.Edge.Project}
	}
	var routes any
	if len(config.HTTP) > 0 {
		if err := json.Unmarshal(config.HTTP, &routes); err != nil {
			return nil, fmt.Errorf("read the app http: %w", err)
		}
	}
	c.readServers(config.HTTP, config.TLS)
	hosts, services, authorities := make(map[string]bool), make(map[string]bool), make(map[string]bool)
	walkObjects(routes, func(object map[string]any) {
		for _, host := range stringItems(object["host"]) {
			hosts[strings.ToLower(host)] = true
		}
		for _, service := range servicesOf(object) {
			if _, static := config.Edge.Static[service]; !static {
				services[service] = true
			}
		}
	})
	for _, p := range config.TLS.Automation.Policies {
		for _, issuer := range p.Issuers {
			if issuer.Module == "acme" {
				authorities[cmp.Or(issuer.CA, letsEncryptDirectory)] = true
			}
		}
		if len(p.Issuers) > 0 && !slices.ContainsFunc(p.Issuers, issuer.isPublic) {
			c.privateHosts = append(c.privateHosts, p.Subjects...)
		}
	}
	for kind := range config.TLS.Certificates {
		c.hasFileCertificates = c.hasFileCertificates || strings.HasPrefix(kind, "load_")
	}
	if len(authorities) == 0 {
		authorities[letsEncryptDirectory] = true
	}
	c.hosts, c.services, c.acmeDirectories = slices.Sorted(maps.Keys(hosts)), slices.Sorted(maps.Keys(services)), slices.Sorted(maps.Keys(authorities))
	return c, nil
}

// servicesOf returns the services that a handler of Caddy proxies to.
func servicesOf(handler map[string]any) (all []string) {
	transport, _ := handler["transport"].(map[string]any)
	dynamic, _ := handler["dynamic_upstreams"].(map[string]any)
	switch {
	case handler["handler"] != "reverse_proxy" && handler["handler"] != "edge_proxy":
	case transport["protocol"] == "edge":
		if service, found := transport["service"].(string); found {
			all = append(all, strings.Split(service, ",")...)
		}
	case dynamic["source"] == "docker_dns":
		if service, found := dynamic["service"].(string); found {
			all = append(all, strings.Split(service, ",")...)
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

// isServiceName reports whether the address of a reverse_proxy upstream names a container: it has a port, and its host is neither an
// IP address, nor localhost, nor a domain.
func isServiceName(dial string) bool {
	u, err := url.Parse("tcp://" + dial)
	if err != nil || u.Port() == "" || strings.ContainsAny(dial, "{/") {
		return false
	}
	host := u.Hostname()
	return host != "localhost" && !strings.ContainsAny(host, ".:") && host != ""
}

// walkObjects calls visit for each object of a JSON document. It skips the matchers inside not.
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
