package rollout

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"slices"
	"strings"
	"time"
)

// fakeEdge is the edge in a fakeContainer. All edges of a host have the sockets of one gate.
type fakeEdge struct {
	noGate    bool
	standbyAt time.Time // when it can serve
	hasTaken  bool
	hasLeft   bool
	leftAt    time.Time
	quietTime time.Duration // how long after leaving its clients are gone
	state     string        // what it knows
	missing   string        // a service that is not ready for it
	mute      bool          // it answers nothing
}

// Stream implements [compose.StreamingDocker].
func (w *fakeHost) Stream(ctx context.Context, stdin io.Reader, stdout io.Writer, args ...string) (string, error) {
	if stdin != nil {
		text, err := io.ReadAll(stdin)
		if err != nil {
			return "", err
		}
		w.stdin = string(text)
	}
	out, stderr, err := w.Run(ctx, args...)
	if err == nil {
		_, err = io.WriteString(stdout, out)
	}
	return stderr, err
}

// serves reports whether the edge accepts connections.
func (w *fakeHost) serves(b *fakeContainer) bool {
	if b.service != "edge" || b.State.Status != "running" || b.edge.hasLeft || b.edge.mute || time.Now().Before(b.edge.standbyAt) {
		return false
	}
	return b.edge.hasTaken || !slices.ContainsFunc(w.containersOf("edge"), func(o *fakeContainer) bool { return o != b && o.IsUp() })
}

// execInEdge fakes the commands of one edge.
func (w *fakeHost) execInEdge(b *fakeContainer, args []string) (stdout, stderr string, err error) {
	e := &b.edge
	if e.mute {
		return "", "", errors.New("it is restarting, wait until it is running")
	}
	switch strings.Join(args, " ") {
	case "status --json":
		routes := w.routes()
		for i := range routes {
			if routes[i].Service == e.missing {
				routes[i].Endpoints = nil
			}
		}
		text, err := json.Marshal(routes)
		return string(text), "", err
	case "handover":
		s := edgeState{Sockets: "gate", State: "starting"}
		switch {
		case e.noGate:
			s = edgeState{State: edgeServing}
		case e.hasLeft:
			s.State = edgeLeaving
			if time.Since(e.leftAt) < e.quietTime {
				s.InUse, s.WebSockets = 3, 1
			}
		case w.serves(b):
			s.State = edgeServing
		case !time.Now().Before(e.standbyAt):
			s.State = edgeStandby
		}
		text, err := json.Marshal(s)
		return string(text), "", err
	case "handover take":
		if time.Now().Before(e.standbyAt) {
			return "", "", errors.New("this edge has not started yet")
		}
		e.hasTaken = true
	case "handover leave":
		e.hasLeft, e.leftAt = true, time.Now()
	case "handover stay":
		e.hasLeft = false
	case "handover export":
		return e.state, "", nil
	case "handover import":
		e.state = w.stdin
	default:
		w.t.Errorf("unexpected: edge %v", args)
	}
	return "", "", nil
}
