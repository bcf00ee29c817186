package edge

import (
	"cmp"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/theworklabs/edge/internal/registry"
	"github.com/theworklabs/edge/modules/listeners"
)

// HandoverRequest is the body of POST /edge/handover: what an edge does while it is replaced by another one that uses the same gate.
type HandoverRequest struct {
	// Action is one of the Handover constants.
	Action string `json:"action"`
}

// The actions of a handover.
const (
	// HandoverTake: the successor accepts connections, although its predecessor still does.
	HandoverTake = "take"
	// HandoverLeave: the predecessor accepts no more, and lets its clients go. It serves what they still send.
	HandoverLeave = "leave"
	// HandoverStay: the predecessor serves again, because its successor has failed.
	HandoverStay = "stay"
)

// handoverQuiet is how long a connection must be idle to count as one that its client does not use.
const handoverQuiet = 30 * time.Second

// getHandover answers what the process does with its sockets.
func getHandover(*http.Request) (any, error) {
	s := listeners.GetStatus(handoverQuiet)
	return HandoverStatus{Status: s, WebSockets: openTunnels()}, nil
}

// HandoverStatus is the answer of /edge/handover.
type HandoverStatus struct {
	listeners.Status
	WebSockets int `json:"websockets"`
}

// openTunnels returns how many WebSockets are open.
func openTunnels() int {
	if r := sharedRuntime(); r != nil {
		return r.tunnels.Len()
	}
	return 0
}

// postHandover changes what the process does with its sockets.
func postHandover(req *http.Request) (any, error) {
	var r HandoverRequest
	if err := decodeMessage(req, &r); err != nil {
		return nil, err
	}
	switch r.Action {
	case HandoverTake:
		if !listeners.Take() {
			return nil, apiError(http.StatusServiceUnavailable, errors.New("this edge has not started yet"))
		}
	case HandoverLeave:
		if !listeners.CanLeave() {
			return nil, apiError(http.StatusConflict, errors.New("no other edge could serve the sockets of a gate: start the successor first, and wait until it is on standby"))
		}
		listeners.BeginLeave()
		drainTunnels()
	case HandoverStay:
		listeners.Stay()
		if r := sharedRuntime(); r != nil {
			r.tunnels.Resume()
		}
	default:
		return nil, apiError(http.StatusBadRequest, fmt.Errorf("action %q: want %s, %s or %s", r.Action, HandoverTake, HandoverLeave, HandoverStay))
	}
	return getHandover(req)
}

// drainTunnels tells the WebSockets, over the close window, that the edge is replaced.
func drainTunnels() {
	runtime := sharedRuntime()
	if runtime == nil {
		return
	}
	window := registry.DefaultCloseWindow
	if a := runtime.activeApp(); a != nil {
		window = cmp.Or(time.Duration(a.CloseWindow), window)
	}
	runtime.tunnels.Drain(window, "the edge is replaced")
}
