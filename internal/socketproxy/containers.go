package socketproxy

import (
	"encoding/json"
	"net/http"
	"net/url"
)

// serveContainers answers with the list of containers, stripped to what discovery needs: without command lines, mounts, published
// ports and the labels of other programs.
func (p *Proxy) serveContainers(w http.ResponseWriter, r *http.Request) {
	query := url.Values{}
	for _, name := range []string{"all", "limit"} {
		if value := r.URL.Query().Get(name); value != "" {
			query.Set(name, value)
		}
	}
	if filters := r.URL.Query().Get("filters"); filters != "" {
		if !filtersOnlyByID(filters) {
			writeError(w, http.StatusForbidden, "the socket proxy forwards only filters by id: others would reveal what it strips")
			return
		}
		query.Set("filters", filters)
	}
	resp := p.fetch(w, r, query)
	if resp == nil {
		return
	}
	defer resp.Body.Close()
	var list []container
	if err := json.NewDecoder(resp.Body).Decode(&list); err != nil {
		writeError(w, http.StatusBadGateway, "read the list of the Docker Engine: "+err.Error())
		return
	}
	for i := range list {
		stripLabels(list[i].Labels)
	}
	copyStatusAndHeader(w, resp)
	_ = json.NewEncoder(w).Encode(list) // the client may have disconnected
}

// filtersOnlyByID reports whether filters in the format of the Docker Engine's API ({"id": {"4f6c…": true}} or {"id": ["4f6c…"]}) are
// by ID only. A filter by label or volume would reveal, one guess at a time, what is stripped from the list.
func filtersOnlyByID(filters string) bool {
	var byName map[string]json.RawMessage
	if json.Unmarshal([]byte(filters), &byName) != nil {
		return false
	}
	delete(byName, "id")
	return len(byName) == 0
}

// container has the fields of a container that are forwarded.
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

// networkAddresses has the fields of a container's network that are forwarded.
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
