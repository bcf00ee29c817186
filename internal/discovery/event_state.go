package discovery

import "time"

// maxListLag is how long the Docker Engine's list may show a container as running after its death: the Docker Engine sends the event
// before it updates the list.
const maxListLag = 10 * time.Second

// relistDelays are the delays after which a container is listed again after an event: each one after the list before. The list
// follows the event after a few milliseconds, or later on a busy machine.
var relistDelays = []time.Duration{20 * time.Millisecond, 200 * time.Millisecond, time.Second}

// eventState is what events said about one container that its list entry does not show, or not yet. The zero value: nothing.
type eventState struct {
	stopExpires   time.Time // Docker has told it to stop; if it still runs at this time, the signal meant something else
	diedAt        time.Time
	relistAt      time.Time // when to list it again
	relistAttempt int       // index into relistDelays
}

func (e *eventState) isStopping() bool { return !e.stopExpires.IsZero() }

func (e *eventState) isRelistDue(now time.Time) bool {
	return !e.relistAt.IsZero() && !now.Before(e.relistAt)
}

// scheduleRelist schedules an attempt to list the container again; after the last attempt there is none.
func (e *eventState) scheduleRelist(now time.Time, attempt int) {
	if attempt == len(relistDelays) {
		e.relistAt, e.relistAttempt = time.Time{}, 0
		return
	}
	e.relistAt, e.relistAttempt = now.Add(relistDelays[attempt]), attempt
}

// eventStates holds the states of containers, by ID. It has none that says nothing.
type eventStates map[string]eventState

func (s eventStates) set(id string, e eventState) {
	if e == (eventState{}) {
		delete(s, id)
		return
	}
	s[id] = e
}

// scheduleRelist schedules an attempt to list a container again.
func (s eventStates) scheduleRelist(id string, attempt int) {
	e := s[id]
	e.scheduleRelist(time.Now(), attempt)
	s.set(id, e)
}

// nextDeadline returns a channel that fires when applyDeadlines has something to do; nil if it has nothing.
func (s eventStates) nextDeadline() <-chan time.Time {
	var first time.Time
	for _, e := range s {
		for _, at := range []time.Time{e.stopExpires, e.relistAt} {
			if !at.IsZero() && (first.IsZero() || at.Before(first)) {
				first = at
			}
		}
	}
	if first.IsZero() {
		return nil
	}
	return time.After(time.Until(first))
}

// applyDeadlines takes back the stops of containers that have not died in time. It returns the IDs of these, and of the containers to
// list again.
func (s eventStates) applyDeadlines(now time.Time) (resumed, relist []string) {
	for id, e := range s {
		if e.isStopping() && !now.Before(e.stopExpires) {
			e.stopExpires = time.Time{}
			resumed = append(resumed, id)
		}
		if e.isRelistDue(now) {
			e.scheduleRelist(now, e.relistAttempt+1)
			relist = append(relist, id)
		}
		s.set(id, e)
	}
	return resumed, relist
}
