package check

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

// config is what is checked of Caddy's JSON.
type config struct {
	hosts       []string // of sites that have one, sorted
	services    []string // NAME:PORT of services that containers are found for, sorted
	endpoint    string   // the Engine, or the guard
	project     string   // whose containers are served, if not the edge's own
	authorities []string // addresses of ACME directories, sorted
	private     []string // hosts whose certificates no public authority signs
	own         bool     // there are certificates of files, for whichever hosts
	wildcards   []string // names with * that the edge asks a public authority for without a DNS challenge, sorted
	challenged  []string // names with * for which it has one, sorted
	listen      []string // addresses that the servers listen on, sorted
}

// tlsApp is what is checked of Caddy's app tls.
type tlsApp struct {
	Certificates map[string]any
	Automation   struct {
		Policies []policy
	}
}

// policy says how the certificates of some names, or of all others, are obtained.
type policy struct {
	Subjects []string
	Issuers  []issuer
	OnDemand bool  `json:"on_demand"`
	Managers []any `json:"get_certificate"`
}

type issuer struct {
	Module, CA string
	Challenges struct{ DNS any }
}

func (i issuer) public() bool { return i.Module != "internal" }

// letsEncrypt is where certificates come from unless the configuration says otherwise.
const letsEncrypt = "https://acme-v02.api.letsencrypt.org/directory"

func parseConfig(text []byte) (*config, error) {
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
	c := &config{endpoint: all.Apps.Edge.Endpoint, project: all.Apps.Edge.Project}
	var routes any
	if len(all.Apps.HTTP) > 0 {
		if err := json.Unmarshal(all.Apps.HTTP, &routes); err != nil {
			return nil, fmt.Errorf("read the app http: %w", err)
		}
	}
	c.readServers(all.Apps.HTTP, all.Apps.TLS)
	hosts, services, authorities := make(map[string]bool), make(map[string]bool), make(map[string]bool)
	walk(routes, func(object map[string]any) {
		for _, host := range texts(object["host"]) {
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
				authorities[cmp.Or(issuer.CA, letsEncrypt)] = true
			}
		}
		if len(p.Issuers) > 0 && !slices.ContainsFunc(p.Issuers, issuer.public) {
			c.private = append(c.private, p.Subjects...)
		}
	}
	for kind := range all.Apps.TLS.Certificates {
		c.own = c.own || strings.HasPrefix(kind, "load_")
	}
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

// walk calls visit with every object of a JSON document, but for matchers of what is not to match.
func walk(value any, visit func(map[string]any)) {
	switch value := value.(type) {
	case map[string]any:
		visit(value)
		for name, child := range value {
			if name != "not" {
				walk(child, visit)
			}
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
