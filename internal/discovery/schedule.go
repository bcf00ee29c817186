package discovery

import "time"

// nextDeadline fires when the first stop has to be taken back, or the first container to be listed again.
func (s *session) nextDeadline() <-chan time.Time {
	var first time.Time
	for _, at := range s.terminationDeadlines {
		if first.IsZero() || at.Before(first) {
			first = at
		}
	}
	for _, l := range s.relists {
		if first.IsZero() || l.at.Before(first) {
			first = l.at
		}
	}
	if first.IsZero() {
		return nil
	}
	return time.After(time.Until(first))
}

// expireTerminations takes back the stops of containers that have not died in time: the signal meant something else to them.
func (s *session) expireTerminations(now time.Time) {
	touched := make(map[string]struct{})
	for id, end := range s.terminationDeadlines {
		if now.Before(end) {
			continue
		}
		delete(s.terminationDeadlines, id)
		delete(s.index.terminating, id)
		addNames(touched, s.index.containers[id].names)
	}
	s.publish(touched)
}

// scheduledRelist is when a container is listed again after an event. The Engine sends events before its list knows of the
// change, by a few milliseconds or, on a busy machine, more.
type scheduledRelist struct {
	at      time.Time
	attempt int // index into relistDelays
}

var relistDelays = []time.Duration{20 * time.Millisecond, 200 * time.Millisecond, time.Second}

// queueDueRelists has the containers listed whose time has come.
func (s *session) queueDueRelists(now time.Time) {
	for id, l := range s.relists {
		if l.at.After(now) {
			continue
		}
		s.pendingList.add(id)
		if l.attempt++; l.attempt < len(relistDelays) {
			l.at = now.Add(relistDelays[l.attempt])
			s.relists[id] = l
		} else {
			delete(s.relists, id)
		}
	}
}
