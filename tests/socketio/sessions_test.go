package socketio

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"
)

// unknownSession is a server's error message for requests of a session that it does not have.
const unknownSession = "Session ID unknown"

// sessionOutcomes counts what happened to sessions of the servers that were stopped, and of those that were not.
type sessionOutcomes struct {
	stoppedServers, runningServers struct{ unknown, refused, closed, lost int }
	violations                     []error // events of sessions of running servers, and of clients without a session
}

func (p *project) sessionOutcomes(f *Fleet) (o sessionOutcomes) {
	for _, kind := range []string{Refused, Closed, Failed, Misrouted} {
		for _, e := range f.Events(kind) {
			counts := &o.runningServers
			if stopped, ok := p.stopTimes[e.Server]; ok && !e.Time().Before(stopped.Truncate(time.Millisecond)) {
				counts = &o.stoppedServers
			} else {
				o.violations = append(o.violations, errors.New(e.String()))
			}
			switch {
			case strings.Contains(e.Body, unknownSession):
				counts.unknown++
			case kind == Refused:
				counts.refused++
			case kind == Closed:
				counts.closed++
				counts.lost += e.Lost
			}
		}
	}
	return o
}

// check logs the numbers, and fails the test if something happened to a session of a server that was not stopped.
func (o sessionOutcomes) check(t *testing.T, f *Fleet, what string) {
	t.Helper()
	t.Logf("%s: %d sessions. Of running servers: %d closed, %d × %q, %d other errors. Of stopped servers: %d closed, %d × %q, %d other errors, %d messages without an answer",
		what, len(f.Events(Open)), o.runningServers.closed, o.runningServers.unknown, unknownSession, o.runningServers.refused,
		o.stoppedServers.closed, o.stoppedServers.unknown, unknownSession, o.stoppedServers.refused, o.stoppedServers.lost)
	if n := len(o.violations); n > 0 {
		t.Errorf("%s: %d errors on sessions of running servers, the first:\n%v", what, n, errors.Join(o.violations[:min(n, 5)]...))
	}
}

// clientHistory returns a client's events in order.
func clientHistory(f *Fleet, client string) string {
	var events []Event
	for _, kind := range []string{Open, Closed, Refused, Failed, Misrouted} {
		for _, e := range f.Events(kind) {
			if e.Client == client {
				events = append(events, e)
			}
		}
	}
	slices.SortStableFunc(events, func(a, b Event) int { return a.Time().Compare(b.Time()) })
	var lines []string
	for _, e := range events {
		lines = append(lines, e.String())
	}
	return strings.Join(lines, "\n")
}

// logClientsWithoutSession logs, if the test has failed, what happened to clients that have no session.
func logClientsWithoutSession(t *testing.T, f *Fleet) {
	t.Helper()
	if !t.Failed() {
		return
	}
	sessions, without := f.Sessions(), make(map[string]bool)
	for _, kind := range []string{Closed, Failed} {
		for _, e := range f.Events(kind) {
			if _, ok := sessions[e.Client]; !ok {
				without[e.Client] = true
			}
		}
	}
	t.Logf("%d clients have a session; %d lost theirs or got none", len(sessions), len(without))
	for client := range without {
		t.Logf("%s has no session:\n%s", client, clientHistory(f, client))
	}
}
