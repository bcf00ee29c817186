package statuspage

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/theworklabs/edge/modules/edge"
)

const (
	// actionHeader is in each request of the page for an action. Another site cannot send it without the edge's consent.
	actionHeader  = "X-Edge-Action"
	maxActionBody = 64 << 10
)

// action is the body of a request: one of the two.
type action struct {
	Drain       *drainAction       `json:"drain"`
	Maintenance *maintenanceAction `json:"maintenance"`
}

type drainAction struct {
	Endpoint string `json:"endpoint"` // its ID
	Undo     bool   `json:"undo"`
}

type maintenanceAction struct {
	Service string `json:"service"`
	On      bool   `json:"on"`
}

// userOf returns the user that an authentication handler has named; "" if there is none.
func userOf(r *http.Request) string {
	repl, ok := r.Context().Value(caddy.ReplacerCtxKey).(*caddy.Replacer)
	if !ok {
		return ""
	}
	user, _ := repl.GetString("http.auth.user.id")
	return user
}

// act carries out an action of a user. The edge logs it with the user's name.
func (h *Handler) act(w http.ResponseWriter, r *http.Request) error {
	user := userOf(r)
	switch {
	case !h.Actions:
		return caddyhttp.Error(http.StatusForbidden, errors.New("actions are not switched on: edge_status has the option actions"))
	case user == "":
		return caddyhttp.Error(http.StatusForbidden, errors.New("actions need a user: put basic_auth, or another log-in, before edge_status"))
	case r.Header.Get(actionHeader) == "", isOfAnotherSite(r):
		return caddyhttp.Error(http.StatusForbidden, errors.New("the request does not come from the page"))
	}
	var a action
	if err := json.NewDecoder(http.MaxBytesReader(w, r.Body, maxActionBody)).Decode(&a); err != nil {
		return caddyhttp.Error(http.StatusBadRequest, err)
	}
	by := user + " on the status page"
	var err error
	var drain edge.DrainResponse
	switch {
	case a.Drain != nil && a.Maintenance == nil:
		drain, err = edge.Drain(r.Context(), edge.DrainRequest{Endpoints: []string{h.endpointOf(a.Drain.Endpoint)}, Undo: a.Drain.Undo, Sessions: caddy.Duration(10 * time.Second)}, by)
	case a.Maintenance != nil && a.Drain == nil && a.Maintenance.Service != "":
		_, err = h.app.ChangeMaintenance(r.Context(), edge.MaintenanceRequest{On: &a.Maintenance.On, Services: []string{a.Maintenance.Service}}, by)
	default:
		return caddyhttp.Error(http.StatusBadRequest, errors.New("want a drain of an endpoint, or the maintenance of a service"))
	}
	if err != nil {
		status := http.StatusInternalServerError
		if failure, ok := errors.AsType[caddy.APIError](err); ok {
			status = failure.HTTPStatus
		}
		return caddyhttp.Error(status, err)
	}
	if drain.NotShared != "" {
		return caddyhttp.Error(http.StatusBadGateway, fmt.Errorf("this edge has done it, and other edges were not notified: %s", drain.NotShared))
	}
	w.WriteHeader(http.StatusNoContent)
	return nil
}

// isOfAnotherSite reports whether a browser says that another site has sent the request.
func isOfAnotherSite(r *http.Request) bool {
	site := r.Header.Get("Sec-Fetch-Site")
	return site != "" && site != "same-origin"
}
