package discovery

import (
	"strings"
	"time"

	"github.com/moby/moby/api/types/events"
)

// EventActions are the Engine's events that change who can take requests. Those of exec are left out: health checks
// make them all the time, and they show command lines.
var EventActions = []string{
	"create", "start", "kill", "die", "oom", "stop", "destroy", "rename", "pause", "unpause", "update",
	"health_status", "connect", "disconnect",
}

// batch returns m and all events that have arrived behind it, so that a burst costs one list.
func batch(m events.Message, more <-chan events.Message) []events.Message {
	all := []events.Message{m}
	for len(all) < 1000 {
		select {
		case m := <-more:
			all = append(all, m)
		default:
			return all
		}
	}
	return all
}

// applyEvents takes in events in their order: what they say by themselves at once, the rest by listing the containers that
// they are about.
func (s *session) applyEvents(all []events.Message) {
	touched := make(map[string]struct{})
	for _, m := range all {
		s.lastEventTime = max(s.lastEventTime, m.TimeNano)
		id := m.Actor.ID
		if m.Type == events.NetworkEventType {
			id = m.Actor.Attributes["container"]
		}
		names, clear := s.applyEvent(m)
		if clear && len(names) > 0 && isKillEvent(m) {
			// at once, and not with what follows: whether it was told to stop says what the end of its requests means
			stopping := make(map[string]struct{})
			addNames(stopping, names)
			s.publish(stopping)
			continue
		}
		addNames(touched, names)
		if clear || id == "" {
			continue
		}
		s.pendingList.add(id)
		s.relists[id] = scheduledRelist{at: time.Now().Add(relistDelays[0])}
	}
	s.publish(touched)
}

// isKillEvent reports whether an event is of a signal; [session.applyEvent] names containers only for those that tell one to stop.
func isKillEvent(m events.Message) bool {
	return m.Type == events.ContainerEventType && m.Action == events.ActionKill
}

// applyEvent takes in what an event says by itself. It returns the names that it concerns, and whether it said all.
func (s *session) applyEvent(m events.Message) (names []string, clear bool) {
	id := m.Actor.ID
	if m.Type == events.NetworkEventType {
		return nil, false
	}
	action, detail, _ := strings.Cut(string(m.Action), ": ")
	switch events.Action(action) {
	case events.ActionKill:
		if s.handleKill(id, m.Actor.Attributes) {
			return s.index.containers[id].names, true
		}
		return nil, true
	case events.ActionDie:
		delete(s.terminationDeadlines, id)
		delete(s.index.terminating, id)
		return s.index.markDead(id), true
	case events.ActionDestroy:
		names = s.removeContainer(id)
		s.index.diedAt[id] = time.Now() // a list that was asked for before may still show it as running
		s.relists[id] = scheduledRelist{at: time.Now().Add(relistDelays[1]), attempt: 1}
		return names, true
	case events.ActionPause:
		return s.setUnhealthyReason(id, reasonPaused), true
	case events.ActionUnPause:
		return s.setUnhealthyReason(id, ""), true
	case events.ActionHealthStatus:
		broken := ""
		if detail == "unhealthy" {
			broken = reasonUnhealthy
		}
		return s.setUnhealthyReason(id, broken), true
	case events.ActionStart:
		delete(s.index.diedAt, id)
	}
	return nil, false
}

// setUnhealthyReason notes why a container must not be used although it runs, and has it listed later, when the list knows of it.
func (s *session) setUnhealthyReason(id, broken string) []string {
	b, ok := s.index.containers[id]
	if !ok {
		return nil
	}
	s.relists[id] = scheduledRelist{at: time.Now().Add(relistDelays[1]), attempt: 1}
	b.unhealthyReason = broken
	return s.index.put(b)
}

// handleKill notes that a container got a signal, and reports whether it was told to stop by it.
func (s *session) handleKill(id string, attributes map[string]string) bool {
	exceptions := append(strings.Split(attributes[labelStopSignals], ","), s.StopSignals...)
	b, known := s.index.containers[id]
	if !known || !b.running || !isStopSignal(attributes["signal"], exceptions) {
		return false
	}
	s.index.terminating[id] = struct{}{}
	s.terminationDeadlines[id] = time.Now().Add(s.TerminationTimeout)
	return true
}
