package rollout

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/theworklabs/edge/internal/hint"
)

// The edge is rolled out by a handover. A gate has its sockets, so that two edges can have them: a second one starts and waits until it can
// serve, gets what the first one knows, and takes over. The first one accepts no more, and lets its clients go. If a step before its removal
// fails, returnToOldEdge undoes the steps.

// edgeState is what an edge does with its sockets: the output of `edge handover`.
type edgeState struct {
	Sockets    string `json:"sockets"` // gate, systemd, or "" if it has opened them itself
	State      string `json:"state"`
	InUse      int    `json:"in_use"`     // connections that its clients use
	WebSockets int    `json:"websockets"` // open ones
}

// The values of edgeState.State.
const (
	edgeStandby = "standby"
	edgeServing = "serving"
	edgeLeaving = "leaving"
)

// noGateError is the error of an edge whose sockets nobody keeps.
func noGateError(edge string) error {
	return hint.New(
		errors.New(edge+" is the edge itself, and has no gate: nobody keeps its connections while it is replaced"),
		"docker compose up --detach --no-deps "+edge+", when it is quiet; with a gate, no request is lost: docs/rollout.md#the-edge-itself",
	)
}

// handoverCommand runs a command of an edge in one of its containers.
func (s *stack) handoverCommand(ctx context.Context, in container, stdin io.Reader, args ...string) (string, error) {
	var out bytes.Buffer
	command := []string{"exec", in.ID, "edge"}
	if stdin != nil {
		command = []string{"exec", "--interactive", in.ID, "edge"}
	}
	if _, err := s.docker.Stream(ctx, stdin, &out, append(command, args...)...); err != nil {
		return "", fmt.Errorf("ask %s: %w", in.Name, err)
	}
	return out.String(), nil
}

// edgeState asks an edge what it does with its sockets.
func (s *stack) edgeState(ctx context.Context, of container) (state edgeState, err error) {
	out, err := s.handoverCommand(ctx, of, nil, "handover")
	if err == nil {
		err = json.Unmarshal([]byte(out), &state)
	}
	return state, err
}

// edgeStates asks each edge that runs what it does. An edge that does not answer has no state.
func (s *stack) edgeStates(ctx context.Context, running []container) (map[string]edgeState, error) {
	states := make(map[string]edgeState)
	var failed error
	for _, c := range running {
		state, err := s.edgeState(ctx, c)
		switch {
		case err != nil:
			failed = errors.Join(failed, err)
		case state.Sockets != "gate":
			return nil, hint.New(
				fmt.Errorf("%s runs without a gate, although the compose file has one", c.Name),
				"docker compose up --detach, once and at a quiet time: it is away for some seconds",
			)
		default:
			states[c.ID] = state
		}
	}
	if len(running) == 0 {
		return nil, hint.New(errors.New("no edge runs"), "docker compose up --detach "+s.edge.service)
	}
	if len(states) == 0 {
		return nil, hint.New(
			fmt.Errorf("no edge can say what it does with its sockets: %w", failed),
			"docker compose logs "+s.edge.service+"; an edge of before the gate can't say it: docker compose up --detach, once and at a quiet time",
		)
	}
	return states, nil
}

// compareGate finds out whether the gate that runs is that of the compose file.
func (t *serviceRollout) compareGate(ctx context.Context) error {
	gate, err := t.readSnapshot(ctx, t.Gate(t.service), false)
	if err != nil {
		return err
	}
	running := runningContainers(gate.containers)
	t.oldGate = len(running) > 0 && len(filterByVersion(running, gate.desired)) < len(running)
	return nil
}

// planHandOver returns the steps of a handover. If an earlier rollout was killed, two edges run: then the newer one of the new version takes
// over, unless --force asks for another one. An edge that does not answer is removed when its successor serves.
func (p *planner) planHandOver(s snapshot) (steps []step) {
	running := runningContainers(s.containers)
	var successor []container
	for _, c := range running {
		state, answers := s.edges[c.ID]
		if !p.options.Force && answers && len(running) > 1 && c.version() == s.desired && state.State != edgeLeaving {
			successor = []container{c} // the last one is the newest
		}
	}
	old := difference(running, successor)
	answering := slices.DeleteFunc(slices.Clone(old), func(c container) bool { _, answers := s.edges[c.ID]; return !answers })
	if len(successor) > 0 {
		steps = append(steps, step{action: keepReused, containers: successor})
	}
	if stopped := difference(s.containers, running); len(stopped) > 0 {
		steps = append(steps, step{action: removeStopped, containers: stopped})
	}
	if len(successor) == 0 {
		steps = append(steps, step{action: startNew, containers: running, count: 1})
	}
	steps = append(steps, step{action: awaitStandby, containers: answering, timeout: p.options.ReadyTimeout}, step{action: takeOver, containers: answering})
	if len(answering) > 0 {
		steps = append(steps, step{action: awaitLeft, containers: answering, timeout: p.options.drainTimeout()})
	}
	if len(old) > 0 {
		steps = append(steps, step{action: removeOld, containers: old})
	}
	return steps
}

// successor returns the edge that takes over.
func (t *serviceRollout) successor(ctx context.Context) (container, error) {
	if t.plan.strategy == replaceAtGate {
		all, err := t.containers(ctx, t.service.Name)
		if err != nil {
			return container{}, err
		}
		t.newContainers = runningContainers(all)
	}
	if len(t.newContainers) != 1 {
		return container{}, fmt.Errorf("%d new edges run, want one", len(t.newContainers))
	}
	return t.newContainers[0], nil
}

// awaitStandby waits until the new edge can serve: its sources have reported, its certificates are loaded, and each service that is ready for
// the old edge is ready for the new one, too.
func (t *serviceRollout) awaitStandby(ctx context.Context, s step) error {
	next, err := t.successor(ctx)
	if err != nil {
		return err
	}
	t.startStep("waiting for %s", next.Name)
	for deadline := time.Now().Add(s.timeout); ; {
		if err := t.checkRunning(ctx, t.newContainers); err != nil {
			t.showLogs(context.WithoutCancel(ctx), t.newContainers)
			return err
		}
		reason, err := t.notStandbyReason(ctx, next, s.containers)
		switch {
		case err == nil && reason == "":
			t.finishStep("%s can serve", next.Name)
			return nil
		case time.Now().After(deadline):
			if err != nil {
				reason = err.Error()
			}
			if ctx.Err() == nil {
				t.showLogs(ctx, t.newContainers)
			}
			return fmt.Errorf("%s can't serve within %s: %s", next.Name, s.timeout, reason)
		}
		t.updateStep("waiting for %s: %s", next.Name, reason)
		if err := waitForNextPoll(ctx, nil); err != nil {
			return err
		}
	}
}

// notStandbyReason returns why the new edge can't serve yet, or "".
func (t *serviceRollout) notStandbyReason(ctx context.Context, next container, old []container) (string, error) {
	state, err := t.edgeState(ctx, next)
	if err != nil {
		return "", err
	}
	if state.Sockets != "gate" {
		return "it has no sockets of the gate", nil
	}
	if state.State != edgeStandby && state.State != edgeServing {
		return "it is " + state.State, nil
	}
	if len(old) == 0 {
		return "", nil
	}
	ready, err := t.readyServices(ctx, next)
	if err != nil {
		return "", err
	}
	before, err := t.readyServices(ctx, old[0])
	if err != nil {
		return "", nil // it may have died, and is replaced all the more
	}
	var missing []string
	for service, isReady := range before {
		if knows, is := ready[service]; isReady && is && !knows {
			missing = append(missing, service)
		}
	}
	if len(missing) > 0 {
		slices.Sort(missing)
		return "ready for the old edge, and not for the new one: " + joinNames(missing), nil
	}
	return "", nil
}

// readyServices returns the services that an edge routes to, and whether each has a ready endpoint.
func (t *serviceRollout) readyServices(ctx context.Context, of container) (map[string]bool, error) {
	out, err := t.handoverCommand(ctx, of, nil, "status", "--json")
	if err != nil {
		return nil, err
	}
	var routes []route
	if err := json.Unmarshal([]byte(out), &routes); err != nil {
		return nil, fmt.Errorf("read the output of `edge status`: %w", err)
	}
	ready := make(map[string]bool)
	for _, r := range routes {
		ready[r.Service] = slices.ContainsFunc(r.Endpoints, func(e endpoint) bool { return e.State == stateReady })
	}
	return ready, nil
}

// takeOver has the new edge serve beside the old ones, and then has these leave. It hands over what they know before that, and what they have
// learned meanwhile after that. It is not bound to the context of the rollout: a command that was begun could have its effect later.
func (t *serviceRollout) takeOver(ctx context.Context, old []container) error {
	next, err := t.successor(ctx)
	if err != nil {
		return err
	}
	t.startStep("%s takes over", next.Name)
	t.drainRequested = true // even if a command fails: it may have had its effect
	for _, c := range old {
		if err := t.copyState(ctx, c, next); err != nil {
			t.printLine("what %s knows is lost: %v", c.Name, err) // sessions of socket.io begin anew
		}
	}
	if _, err := t.handoverCommand(ctx, next, nil, "handover", "take"); err != nil {
		return err
	}
	for _, c := range old {
		if _, err := t.handoverCommand(ctx, c, nil, "handover", "leave"); err != nil && !t.isGone(ctx, c) {
			return err
		}
		if err := t.copyState(ctx, c, next); err != nil && !t.isGone(ctx, c) {
			t.printLine("what %s has learned last is lost: %v", c.Name, err)
		}
	}
	t.finishStep("%s has taken over from %s", next.Name, containerNames(old))
	return nil
}

// copyState has an edge take over what another one knows.
func (t *serviceRollout) copyState(ctx context.Context, from, to container) error {
	state, err := t.handoverCommand(ctx, from, nil, "handover", "export")
	if err == nil {
		_, err = t.handoverCommand(ctx, to, strings.NewReader(state), "handover", "import")
	}
	return err
}

// isGone reports whether a container does not run any more.
func (t *serviceRollout) isGone(ctx context.Context, c container) bool {
	all, err := t.containers(ctx, t.service.Name)
	return err == nil && !containsID(runningContainers(all), c.ID)
}

// awaitLeft waits until the clients of the old edges use none of their connections any more, or the step's timeout is over.
func (t *serviceRollout) awaitLeft(ctx context.Context, s step) error {
	t.startStep("waiting for the clients of %s", containerNames(s.containers))
	left, err := t.waitUntilLeft(ctx, s.containers, s.timeout, t.checkServing(ctx), nil)
	switch {
	case err != nil:
		return err
	case left == "":
		t.finishStep("the clients of %s have gone", containerNames(s.containers))
	default:
		t.finishStep("the clients of %s have gone, except for %s, which will be cut", containerNames(s.containers), left)
	}
	return nil
}

// waitUntilLeft waits until edges that leave have no clients, or for a time. It returns what is left.
func (t *serviceRollout) waitUntilLeft(ctx context.Context, edges []container, timeout time.Duration, keepWaiting func() error, forceStop <-chan struct{}) (left string, err error) {
	for start := time.Now(); ; {
		left = ""
		for _, c := range edges {
			state, err := t.edgeState(ctx, c)
			switch {
			case err != nil && ctx.Err() != nil:
				return left, errInterrupted
			case err != nil && !t.isGone(ctx, c):
				return left, err
			case state.InUse+state.WebSockets > 0:
				left = fmt.Sprintf("%s and %s", plural(state.InUse, "connection"), plural(state.WebSockets, "socket"))
			}
		}
		if left == "" || time.Since(start) >= timeout {
			return left, nil
		}
		t.updateStep("waiting for the clients of %s: %s", containerNames(edges), left)
		if keepWaiting != nil {
			if err := keepWaiting(); err != nil {
				return left, err
			}
		}
		if err := waitForNextPoll(ctx, forceStop); err != nil {
			return left, err
		}
	}
}

// checkServing returns a check that the new edge serves. If Docker has restarted it, the check has it take over again.
func (t *serviceRollout) checkServing(ctx context.Context) func() error {
	var since time.Time // when it did not serve for the first time; zero: it does
	return func() error {
		if err := t.checkRunning(ctx, t.newContainers); err != nil {
			return err
		}
		next := t.newContainers[0]
		state, err := t.edgeState(ctx, next)
		if err == nil && state.State == edgeStandby {
			_, err = t.handoverCommand(ctx, next, nil, "handover", "take")
		}
		switch {
		case err == nil && (state.State == edgeServing || state.State == edgeStandby):
			since = time.Time{}
		case since.IsZero():
			since = time.Now()
		case time.Since(since) > restoreTimeout:
			return fmt.Errorf("%s has stopped serving: %w", next.Name, cmp.Or(err, errors.New("it is "+state.State)))
		}
		return nil
	}
}
