package socketproxy

import (
	"encoding/json"
	"net/http"
	"net/url"
)

// serveContainers answers with the list of containers, each stripped to what discovery needs. Command lines, mounts,
// foreign labels and published ports stay behind the guard.
func (g *Proxy) serveContainers(w http.ResponseWriter, r *http.Request) {
	query := url.Values{}
	for _, name := range []string{"all", "limit"} {
		if value := r.URL.Query().Get(name); value != "" {
			query.Set(name, value)
		}
	}
	if filters := r.URL.Query().Get("filters"); filters != "" {
		if !filtersOnlyByID(filters) {
			writeError(w, http.StatusForbidden, "the guard passes filters by id only: others would tell what it strips")
			return
		}
		query.Set("filters", filters)
	}
	resp := g.fetch(w, r, query)
	if resp == nil {
		return
	}
	defer resp.Body.Close()
	var list []container
	if err := json.NewDecoder(resp.Body).Decode(&list); err != nil {
		writeError(w, http.StatusBadGateway, "read the Docker Engine's list: "+err.Error())
		return
	}
	for i := range list {
		stripLabels(list[i].Labels)
	}
	copyStatusAndHeader(w, resp)
	_ = json.NewEncoder(w).Encode(list) // a client that left needs no answer
}

// filtersOnlyByID reports whether filters, as the Engine's API writes them ({"id": {"4f6c…": true}} or {"id": ["4f6c…"]}), are by ID.
// A filter by label or volume would answer yes or no to what the list is stripped of.
func filtersOnlyByID(filters string) bool {
	var byName map[string]json.RawMessage
	if json.Unmarshal([]byte(filters), &byName) != nil {
		return false
	}
	delete(byName, "id")
	return len(byName) == 0
}

// container is what is passed on of a container. Anything else that the Engine tells is dropped.
type container struct {
	ID              string            `json:"Id"`
	Names           []string          `json:"Names"`
	Created         int64             `json:"Created"`
	State           string            `json:"State"`
	Status          string            `json:"Status"`
	Labels          map[string]string `json:"Labels"`
	NetworkSettings struct {
		Networks map[string]networkAddresses `json:"Networks"`
	} `json:"NetworkSettings"`
}

// networkAddresses is what is passed on of a container's place in a network.
type networkAddresses struct {
	IPAddress         string `json:"IPAddress,omitempty"`
	GlobalIPv6Address string `json:"GlobalIPv6Address,omitempty"`
}

func stripLabels(labels map[string]string) {
	for name := range labels {
		if !isNeededLabel(name) {
			delete(labels, name)
		}
	}
}
