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

// nextDeadline returns a channel that fires when applyDeadlines has something to do; nil if it has nothing.
func (x *containerIndex) nextDeadline() <-chan time.Time {
	var first time.Time
	for _, e := range x.events {
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

// applyDeadlines takes back the stops of containers that have not died in time, and returns their names and the IDs of the
// containers to list again.
func (x *containerIndex) applyDeadlines(now time.Time) (touched nameSet, relist []string) {
	touched = make(nameSet)
	for id, e := range x.events {
		if e.isStopping() && !now.Before(e.stopExpires) {
			e.stopExpires = time.Time{}
			touched.add(x.containers[id].names...)
		}
		if e.isRelistDue(now) {
			e.scheduleRelist(now, e.relistAttempt+1)
			relist = append(relist, id)
		}
		x.setEventState(id, e)
	}
	return touched, relist
}

// setEventState stores the state of a container, or removes it if it says nothing.
func (x *containerIndex) setEventState(id string, e eventState) {
	if e == (eventState{}) {
		delete(x.events, id)
		return
	}
	x.events[id] = e
}

// updateEventState changes the state of a container.
func (x *containerIndex) updateEventState(id string, change func(*eventState)) {
	e := x.events[id]
	change(&e)
	x.setEventState(id, e)
}
