package tests

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/theworklabs/edge/tests/socketio"
)

// unknown is what a server says that gets a request of a session which it doesn't have.
const unknown = "Session ID unknown"

// fate says what became of the sessions of the servers that died, and of those that lived.
type fate struct {
	died, lived struct{ unknown, refused, closed, lost int }
	wrong       []error // what befell sessions of servers that lived, and clients that had none
}

func (l *socketLab) fate(f *socketio.Fleet) (fate fate) {
	for _, kind := range []string{socketio.Refused, socketio.Closed, socketio.Failed, socketio.Strayed} {
		for _, e := range f.Events(kind) {
			of := &fate.lived
			if told, ok := l.died[e.Server]; ok && !e.Time().Before(told.Truncate(time.Millisecond)) {
				of = &fate.died
			} else {
				fate.wrong = append(fate.wrong, errors.New(e.String()))
			}
			switch {
			case strings.Contains(e.Body, unknown):
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

// report logs the numbers, and fails the test if a session of a server that lived came to harm.
func (fate fate) report(t *testing.T, f *socketio.Fleet, what string) {
	t.Helper()
	t.Logf("%s: %d sessions. Of servers that lived: %d closed, %d × %q, %d other errors. Of servers that died: %d closed, %d × %q, %d other errors, %d messages without an answer",
		what, len(f.Events(socketio.Open)), fate.lived.closed, fate.lived.unknown, unknown, fate.lived.refused,
		fate.died.closed, fate.died.unknown, unknown, fate.died.refused, fate.died.lost)
	if n := len(fate.wrong); n > 0 {
		t.Errorf("%s: %d things went wrong with servers that lived, the first of them:\n%v", what, n, errors.Join(fate.wrong[:min(n, 5)]...))
	}
}

// story tells what happened to a client, in order.
func story(f *socketio.Fleet, client string) string {
	var events []socketio.Event
	for _, kind := range []string{socketio.Open, socketio.Closed, socketio.Refused, socketio.Failed, socketio.Strayed} {
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

// logLonely logs, if the test has failed, what happened to clients that have no session.
func logLonely(t *testing.T, f *socketio.Fleet) {
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
		t.Logf("%s has none:\n%s", client, story(f, client))
	}
}
