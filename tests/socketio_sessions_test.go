package tests

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/theworklabs/edge/tests/socketio"
)

// unknownSession is what a server says that gets a request of a session which it doesn't have.
const unknownSession = "Session ID unknown"

// sessionOutcomes says what became of the sessions of the servers that died, and of those that lived.
type sessionOutcomes struct {
	stoppedServers, runningServers struct{ unknown, refused, closed, lost int }
	violations                     []error // what befell sessions of servers that lived, and clients that had none
}

func (l *socketIOProject) sessionOutcomes(f *socketio.Fleet) (fate sessionOutcomes) {
	for _, kind := range []string{socketio.Refused, socketio.Closed, socketio.Failed, socketio.Misrouted} {
		for _, e := range f.Events(kind) {
			of := &fate.runningServers
			if told, ok := l.stopTimes[e.Server]; ok && !e.Time().Before(told.Truncate(time.Millisecond)) {
				of = &fate.stoppedServers
			} else {
				fate.violations = append(fate.violations, errors.New(e.String()))
			}
			switch {
			case strings.Contains(e.Body, unknownSession):
				of.unknown++
			case kind == socketio.Refused:
				of.refused++
			case kind == socketio.Closed:
				of.closed++
				of.lost += e.Lost
			}
		}
	}
	return fate
}

// check logs the numbers, and fails the test if a session of a server that lived came to harm.
func (fate sessionOutcomes) check(t *testing.T, f *socketio.Fleet, what string) {
	t.Helper()
	t.Logf("%s: %d sessions. Of servers that lived: %d closed, %d × %q, %d other errors. Of servers that died: %d closed, %d × %q, %d other errors, %d messages without an answer",
		what, len(f.Events(socketio.Open)), fate.runningServers.closed, fate.runningServers.unknown, unknownSession, fate.runningServers.refused,
		fate.stoppedServers.closed, fate.stoppedServers.unknown, unknownSession, fate.stoppedServers.refused, fate.stoppedServers.lost)
	if n := len(fate.violations); n > 0 {
		t.Errorf("%s: %d things went wrong with servers that lived, the first of them:\n%v", what, n, errors.Join(fate.violations[:min(n, 5)]...))
	}
}

// clientHistory tells what happened to a client, in order.
func clientHistory(f *socketio.Fleet, client string) string {
	var events []socketio.Event
	for _, kind := range []string{socketio.Open, socketio.Closed, socketio.Refused, socketio.Failed, socketio.Misrouted} {
		for _, e := range f.Events(kind) {
			if e.Client == client {
				events = append(events, e)
			}
		}
	}
	slices.SortStableFunc(events, func(a, b socketio.Event) int { return a.Time().Compare(b.Time()) })
	var lines []string
	for _, e := range events {
		lines = append(lines, e.String())
	}
	return strings.Join(lines, "\n")
}

// logClientsWithoutSession logs, if the test has failed, what happened to clients that have no session.
func logClientsWithoutSession(t *testing.T, f *socketio.Fleet) {
	t.Helper()
	if !t.Failed() {
		return
	}
	sessions, lonely := f.Sessions(), make(map[string]bool)
	for _, kind := range []string{socketio.Closed, socketio.Failed} {
		for _, e := range f.Events(kind) {
			if _, ok := sessions[e.Client]; !ok {
				lonely[e.Client] = true
			}
		}
	}
	t.Logf("%d clients have a session; %d lost one, or could not begin", len(sessions), len(lonely))
	for client := range lonely {
		t.Logf("%s has none:\n%s", client, clientHistory(f, client))
	}
}
