package socketproxy

import (
	"encoding/json"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/theworklabs/edge/internal/discovery"
)

// serveEvents streams the Docker Engine's events about containers and networks, and flushes each one at once. Its own filter replaces
// the client's: exec events would show command lines.
func (p *Proxy) serveEvents(w http.ResponseWriter, r *http.Request) {
	query := url.Values{}
	for _, name := range []string{"since", "until"} {
		if value := r.URL.Query().Get(name); value != "" {
			query.Set(name, value)
		}
	}
	query.Set("filters", eventFilter)
	resp := p.fetch(w, r, query)
	if resp == nil {
		return
	}
	defer resp.Body.Close()
	resp.Header.Set("Content-Type", "application/json")
	copyStatusAndHeader(w, resp)
	out := http.NewResponseController(w)
	if out.Flush() != nil {
		return
	}
	in, encoder := json.NewDecoder(resp.Body), json.NewEncoder(w)
	for {
		var e event
		if in.Decode(&e) != nil {
			return // the Docker Engine or the client has closed the stream; the edge reconnects
		}
		if !e.isRequested() {
			continue
		}
		e.strip()
		if encoder.Encode(e) != nil || out.Flush() != nil {
			return
		}
	}
}

var eventFilter = func() string {
	filter, err := json.Marshal(map[string][]string{
		"type": {"container", "network"}, "event": discovery.EventActions,
	})
	if err != nil {
		panic(err) // strings always marshal
	}
	return string(filter)
}()

// event has the fields of an event that are forwarded.
type event struct {
	Type     string `json:"Type"`
	Action   string `json:"Action"`
	Actor    actor  `json:"Actor"`
	Scope    string `json:"scope,omitempty"`
	Time     int64  `json:"time,omitempty"`
	TimeNano int64  `json:"timeNano,omitempty"`
}

type actor struct {
	ID         string            `json:"ID"`
	Attributes map[string]string `json:"Attributes"`
}

// isRequested reports whether the filter selects the event. Another program with the Docker Engine's API may ignore the filter, and the
// proxy must not forward more then.
func (e *event) isRequested() bool {
	action, _, _ := strings.Cut(e.Action, ": ") // "health_status: unhealthy"
	return (e.Type == "container" || e.Type == "network") && slices.Contains(discovery.EventActions, action)
}

// strip removes the container's labels, which the Docker Engine adds to the attributes, except for needed ones.
func (e *event) strip() {
	for name := range e.Actor.Attributes {
		switch name {
		case "signal", "exitCode", "container", "name", "type", "image", "oldName":
		default:
			if !isNeededLabel(name) {
				delete(e.Actor.Attributes, name)
			}
		}
	}
}
