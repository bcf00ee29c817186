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

// apply takes in events in their order: what they say by themselves at once, the rest by listing the containers that
// they are about.
func (s *session) apply(all []events.Message) {
	touched := make(map[string]struct{})
	for _, m := range all {
		s.last = max(s.last, m.TimeNano)
		id := m.Actor.ID
		if m.Type == events.NetworkEventType {
			id = m.Actor.Attributes["container"]
		}
		names, clear := s.read(m)
		if clear && len(names) > 0 && isStop(m) {
			// at once, and not with what follows: whether it was told to stop says what the end of its requests means
			stopping := make(map[string]struct{})
			touch(stopping, names)
			s.publish(stopping)
			continue
		}
		touch(touched, names)
		if clear || id == "" {
			continue
		}
		s.want.add(id)
		s.looks[id] = look{at: time.Now().Add(lookDelays[0])}
	}
	s.publish(touched)
}

// isStop reports whether an event is of a signal; [session.read] names containers only for those that tell one to stop.
func isStop(m events.Message) bool {
	return m.Type == events.ContainerEventType && m.Action == events.ActionKill
}

// read takes in what an event says by itself. It returns the names that it concerns, and whether it said all.
func (s *session) read(m events.Message) (names []string, clear bool) {
	id := m.Actor.ID
	if m.Type == events.NetworkEventType {
		return nil, false
	}
	action, detail, _ := strings.Cut(string(m.Action), ": ")
	switch events.Action(action) {
	case events.ActionKill:
		if s.killed(id, m.Actor.Attributes) {
			return s.roster.boxes[id].names, true
		}
		return nil, true
	case events.ActionDie:
		delete(s.drains, id)
		delete(s.roster.leaving, id)
		return s.roster.kill(id), true
	case events.ActionDestroy:
		names = s.forget(id)
		s.roster.died[id] = time.Now() // a list that was asked for before may still show it as running
		s.looks[id] = look{at: time.Now().Add(lookDelays[1]), turn: 1}
		return names, true
	case events.ActionPause:
		return s.mark(id, paused), true
	case events.ActionUnPause:
		return s.mark(id, ""), true
	case events.ActionHealthStatus:
		broken := ""
		if detail == "unhealthy" {
			broken = unhealthy
		}
		return s.mark(id, broken), true
	case events.ActionStart:
		delete(s.roster.died, id)
	}
	return nil, false
}

// mark notes why a container must not be used although it runs, and has it listed later, when the list knows of it.
func (s *session) mark(id, broken string) []string {
	b, ok := s.roster.boxes[id]
	if !ok {
		return nil
	}
	s.looks[id] = look{at: time.Now().Add(lookDelays[1]), turn: 1}
	b.broken = broken
	return s.roster.put(b)
}

// killed notes that a container got a signal, and reports whether it was told to stop by it.
func (s *session) killed(id string, attributes map[string]string) bool {
	exceptions := append(strings.Split(attributes[labelStopSignals], ","), s.StopSignals...)
	b, known := s.roster.boxes[id]
	if !known || !b.running || !tellsToStop(attributes["signal"], exceptions) {
		return false
	}
	s.roster.leaving[id] = struct{}{}
	s.drains[id] = time.Now().Add(s.DrainTimeout)
	return true
}
