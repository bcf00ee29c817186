package discovery

import "time"

// nextDue fires when the first stop has to be taken back, or the first container to be listed again.
func (s *session) nextDue() <-chan time.Time {
	var first time.Time
	for _, at := range s.drains {
		if first.IsZero() || at.Before(first) {
			first = at
		}
	}
	for _, l := range s.looks {
		if first.IsZero() || l.at.Before(first) {
			first = l.at
		}
	}
	if first.IsZero() {
		return nil
	}
	return time.After(time.Until(first))
}

// undoDrains takes back the stops of containers that have not died in time: the signal meant something else to them.
func (s *session) undoDrains(now time.Time) {
	touched := make(map[string]struct{})
	for id, end := range s.drains {
		if now.Before(end) {
			continue
		}
		delete(s.drains, id)
		delete(s.roster.leaving, id)
		touch(touched, s.roster.boxes[id].names)
	}
	s.publish(touched)
}

// look is when a container is listed again after an event. The Engine sends events before its list knows of the
// change, by a few milliseconds or, on a busy machine, more.
type look struct {
	at   time.Time
	turn int // index into lookDelays
}

var lookDelays = []time.Duration{20 * time.Millisecond, 200 * time.Millisecond, time.Second}

// lookAgain has the containers listed whose time has come.
func (s *session) lookAgain(now time.Time) {
	for id, l := range s.looks {
		if l.at.After(now) {
			continue
		}
		s.want.add(id)
		if l.turn++; l.turn < len(lookDelays) {
			l.at = now.Add(lookDelays[l.turn])
			s.looks[id] = l
		} else {
			delete(s.looks, id)
		}
	}
}
