package discovery

import (
	"context"
	"slices"
	"strings"
	"time"

	"github.com/moby/moby/api/types/events"
)

// EventActions are the events of the Docker Engine that can change the members of a name. The exec events are not among them: health
// checks cause them all the time, and they contain command lines.
var EventActions = []string{
	"create", "start", "kill", "die", "oom", "stop", "destroy", "rename", "pause", "unpause", "update",
	"health_status", "connect", "disconnect",
}

// queueEvents copies events into a buffered channel, so that batch finds those of a burst.
func queueEvents(ctx context.Context, from <-chan events.Message, to chan<- events.Message) {
	for {
		select {
		case <-ctx.Done():
			return
		case m := <-from:
			select {
			case to <- m:
			case <-ctx.Done():
				return
			}
		}
	}
}

// batch returns m and the events that are queued behind it, so that a burst of events causes one list.
func batch(m events.Message, queue <-chan events.Message) []events.Message {
	all := []events.Message{m}
	for len(all) < 1000 {
		select {
		case m := <-queue:
			all = append(all, m)
		default:
			return all
		}
	}
	return all
}

// applyEvents applies events in their order. It applies at once what an event says by itself, and requests a list of the containers
// for the rest.
func (s *session) applyEvents(all []events.Message) {
	touched := make(nameSet)
	var applied []int64 // the times of events that take effect when touched is published
	for _, m := range all {
		s.lastEventTime = max(s.lastEventTime, m.TimeNano)
		switch names, isComplete := s.applyEvent(m); {
		case isKillEvent(m) && len(names) > 0:
			// Published before the events behind it: how the end of a container's requests is understood depends on whether the
			// container was told to stop.
			stopping := make(nameSet)
			stopping.add(names...)
			s.publish(stopping)
			s.reportLag(m.TimeNano)
		case isComplete && len(names) == 0: // it changes nothing
		case isComplete:
			touched.add(names...)
			applied = append(applied, m.TimeNano)
		default:
			s.relist(containerID(m))
			if id := containerID(m); id != "" && s.awaitingList[id] == 0 {
				s.awaitingList[id] = m.TimeNano
			}
		}
	}
	s.publish(touched)
	for _, event := range applied {
		s.reportLag(event)
	}
}

// relist lists a container at once, and again later.
func (s *session) relist(id string) {
	if id == "" {
		return
	}
	s.pendingList.add(id)
	s.index.events.scheduleRelist(id, 0)
}

// isKillEvent reports whether an event is about a signal. applyEvent returns names only for signals that tell a container to stop.
func isKillEvent(m events.Message) bool {
	return m.Type == events.ContainerEventType && m.Action == events.ActionKill
}

// containerID returns the ID of the container that an event is about.
func containerID(m events.Message) string {
	if m.Type == events.NetworkEventType {
		return m.Actor.Attributes["container"]
	}
	return m.Actor.ID
}

// applyEvent applies what an event says by itself. It returns the names whose members may have changed. If isComplete is false, the
// names are unknown, and the container has to be listed.
func (s *session) applyEvent(m events.Message) (names []string, isComplete bool) {
	if m.Type == events.NetworkEventType {
		return nil, false
	}
	id := m.Actor.ID
	action, detail, _ := strings.Cut(string(m.Action), ": ")
	switch events.Action(action) {
	case events.ActionKill:
		if !s.isStop(m) {
			return nil, true
		}
		return s.index.markStopping(id, time.Now().Add(s.TerminationTimeout)), true
	case events.ActionDie:
		return s.index.markDead(id), true
	case events.ActionDestroy:
		if len(s.awaitingList) > 0 {
			// A list is under way, which may have the container's successor: the name stays known until then.
			names := s.index.markDead(id)
			s.relist(id)
			return names, true
		}
		return s.index.markDestroyed(id), true
	case events.ActionPause:
		return s.index.setUnhealthyReason(id, reasonPaused), true
	case events.ActionUnPause:
		return s.index.setUnhealthyReason(id, ""), true
	case events.ActionHealthStatus:
		reason := ""
		if detail == "unhealthy" {
			reason = reasonUnhealthy
		}
		return s.index.setUnhealthyReason(id, reason), true
	case events.ActionStart:
		s.index.markStarted(id)
	}
	return nil, false
}

// isStop reports whether a kill event tells a running container to stop.
func (s *session) isStop(m events.Message) bool {
	signals := slices.Concat(strings.Split(m.Actor.Attributes[labelStopSignals], ","), s.StopSignals)
	c, listed := s.index.containers[m.Actor.ID]
	return listed && c.running && isStopSignal(m.Actor.Attributes["signal"], signals)
}
