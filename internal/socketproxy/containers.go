package socketproxy

import (
	"encoding/json"
	"maps"
	"net/http"
	"net/url"
	"strings"
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
	serveStripped[[]container](p, w, r, query, "id")
}

// serveStripped answers with what T has of a response of the Docker Engine. Filters with other names than these are refused.
func serveStripped[T any](p *Proxy, w http.ResponseWriter, r *http.Request, query url.Values, filterNames ...string) {
	if filters := r.URL.Query().Get("filters"); filters != "" {
		if !filtersOnlyBy(filters, filterNames...) {
			writeError(w, http.StatusForbidden, "the socket proxy forwards only filters by "+strings.Join(filterNames, " and ")+": others would reveal what it strips")
			return
		}
		query.Set("filters", filters)
	}
	resp := p.fetch(w, r, query)
	if resp == nil {
		return
	}
	defer resp.Body.Close()
	var list T
	if err := json.NewDecoder(resp.Body).Decode(&list); err != nil {
		writeError(w, http.StatusBadGateway, "read the list of the Docker Engine: "+err.Error())
		return
	}
	copyStatusAndHeader(w, resp)
	_ = json.NewEncoder(w).Encode(list) // the client may have disconnected
}

// filtersOnlyBy reports whether filters in the format of the Docker Engine's API ({"id": {"4f6c…": true}} or {"id": ["4f6c…"]}) have
// only these names. A filter by label or volume would reveal, one guess at a time, what is stripped from the list.
func filtersOnlyBy(filters string, names ...string) bool {
	var byName map[string]json.RawMessage
	if json.Unmarshal([]byte(filters), &byName) != nil {
		return false
	}
	for _, name := range names {
		delete(byName, name)
	}
	return len(byName) == 0
}

// container has the fields of a container that are forwarded.
type container struct {
	ID              string       `json:"Id"`
	Names           []string     `json:"Names"`
	Created         int64        `json:"Created"`
	State           string       `json:"State"`
	Status          string       `json:"Status"`
	Labels          neededLabels `json:"Labels"`
	NetworkSettings struct {
		Networks map[string]networkAddresses `json:"Networks"`
	} `json:"NetworkSettings"`
}

// networkAddresses has the fields of a container's network that are forwarded.
type networkAddresses struct {
	IPAddress         string `json:"IPAddress,omitempty"`
	GlobalIPv6Address string `json:"GlobalIPv6Address,omitempty"`
}

// neededLabels are the labels that discovery reads.
type neededLabels map[string]string

// UnmarshalJSON drops all other labels.
func (l *neededLabels) UnmarshalJSON(text []byte) error {
	var all map[string]string
	if err := json.Unmarshal(text, &all); err != nil {
		return err
	}
	maps.DeleteFunc(all, func(name, _ string) bool { return !isNeededLabel(name) })
	*l = all
	return nil
}
