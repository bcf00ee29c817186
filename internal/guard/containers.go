package guard

import (
	"encoding/json"
	"net/http"
	"net/url"
)

// containers answers with the list of containers, each stripped to what discovery needs. Command lines, mounts,
// foreign labels and published ports stay behind the guard.
func (g *Guard) containers(w http.ResponseWriter, r *http.Request) {
	query := url.Values{}
	for _, name := range []string{"all", "limit"} {
		if value := r.URL.Query().Get(name); value != "" {
			query.Set(name, value)
		}
	}
	if filters := r.URL.Query().Get("filters"); filters != "" {
		query.Set("filters", filters) // the Engine's to read: a filter can only shorten the list
	}
	resp, err := g.ask(r, query)
	if err != nil {
		unreachable(w, err)
		return
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		refuse(w, resp.StatusCode, "the Docker Engine answered "+resp.Status)
		return
	}
	var list []container
	if err := json.NewDecoder(resp.Body).Decode(&list); err != nil {
		refuse(w, http.StatusBadGateway, "read the Docker Engine's list: "+err.Error())
		return
	}
	for i := range list {
		stripLabels(list[i].Labels)
	}
	copyHead(w, resp)
	_ = json.NewEncoder(w).Encode(list) // a client that left needs no answer
}

// container is what is passed on of a container. Anything else that the Engine tells is dropped.
type container struct {
	ID              string            `json:"Id"`
	Names           []string          `json:"Names"`
	Image           string            `json:"Image"`
	ImageID         string            `json:"ImageID"`
	Created         int64             `json:"Created"`
	State           string            `json:"State"`
	Status          string            `json:"Status"`
	Labels          map[string]string `json:"Labels"`
	NetworkSettings json.RawMessage   `json:"NetworkSettings,omitempty"`
}

func stripLabels(labels map[string]string) {
	for name := range labels {
		if !neededLabel(name) {
			delete(labels, name)
		}
	}
}
