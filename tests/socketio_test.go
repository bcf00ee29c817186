package tests

import (
	"bytes"
	"maps"
	"net/http"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/theworklabs/edge/tests/harness"
	"github.com/theworklabs/edge/tests/socketio"
)

// pollingClients are 500 clients that never open a WebSocket.
var pollingClients = socketio.FleetOptions{V2: 250, V4: 250, Transports: "polling", Ramp: 4 * time.Second}

// TestSocketIOSessionsStayOnTheirServer has 500 clients that only poll and keep no cookie.
func TestSocketIOSessionsStayOnTheirServer(t *testing.T) {
	l := newSocketIOProject(t, "socketio", 3)
	f := l.startFleet(t, pollingClients)
	l.churn(t, f, 500)
	outcomes := l.sessionOutcomes(f)
	outcomes.check(t, f, "scaled and recreated")
	if outcomes.stoppedServers.closed == 0 {
		t.Error("no session was on a stopped server: the test has shown nothing")
	}
}

// TestSocketIOSessionsSurviveReplacingTheEdge has 500 clients that only poll and keep cookies. The new edge has learned no session;
// the cookies lead each client to its server. Clients send nothing while there is no edge.
func TestSocketIOSessionsSurviveReplacingTheEdge(t *testing.T) {
	l := newSocketIOProject(t, "socketio cookie", 3)
	o := pollingClients
	o.Cookies = true
	f := l.startFleet(t, o)
	before := f.Sessions()
	if err := f.Pause(); err != nil {
		t.Fatal(err)
	}
	harness.Eventually(t, "no request is in flight", func() bool { return len(f.Events(socketio.Idle)) == 1 })
	l.MustCompose(t, "up", "--detach", "--no-deps", "--force-recreate", "edge")
	l.waitHealthy(t)
	if err := f.Resume(); err != nil {
		t.Fatal(err)
	}
	waitAllAnswered(t, f, 500)
	if after := f.Sessions(); !maps.Equal(before, after) {
		t.Error("some clients have another session after the edge was replaced")
	}
	l.sessionOutcomes(f).check(t, f, "edge replaced")
	l.churn(t, f, 500)
	l.sessionOutcomes(f).check(t, f, "then scaled and recreated")
	l.restartEdge(t, f)
}

// restartEdge restarts the edge while clients poll. That ends their sessions, because an interrupted poll does, and the cookies lead
// the clients back to their servers. (Only those of version 2, for which the fleet keeps cookies as browsers do: version 4 begins a
// session without the cookies of the last one.)
func (l *socketIOProject) restartEdge(t *testing.T, f *socketio.Fleet) {
	t.Helper()
	before, refused := f.Sessions(), len(f.Events(socketio.Refused))
	l.MustCompose(t, "restart", "edge")
	l.waitHealthy(t)
	waitAllAnswered(t, f, 500)
	back := 0
	for client, session := range f.Sessions() {
		switch {
		case session.Server == before[client].Server:
			back++
		case strings.HasPrefix(client, "v2-"):
			t.Errorf("%s was on %s and is on %s:\n%s", client, before[client].Server, session.Server, clientHistory(f, client))
		}
	}
	t.Logf("after a restart of the edge, %d of 500 clients are back on their server", back)
	// A server forgets a session whose poll was interrupted. It answers so to a client that has not noticed yet.
	for _, e := range f.Events(socketio.Refused)[refused:] {
		if strings.Contains(e.Body, unknownSession) && e.AnsweredBy != e.Server {
			t.Error(e)
		}
	}
}

// TestDrainMovesSocketIOClientsGradually drains a server with 500 WebSockets.
func TestDrainMovesSocketIOClientsGradually(t *testing.T) {
	const window = 5 * time.Second // the default of close_window
	l := newSocketIOProject(t, "socketio", 1)
	f := l.startFleet(t, socketio.FleetOptions{V2: 250, V4: 250, Transports: "websocket", Ramp: 4 * time.Second})
	l.scale(t, 3)
	drained, began := serverWithSessions(f), time.Now()
	l.MustCompose(t, "exec", "-T", "edge", "edge", "drain", drained, "--wait", "20s")
	waitAllAnswered(t, f, 500)

	closed, opened := f.Events(socketio.Closed), f.Events(socketio.Open)[500:]
	if len(closed) != 500 || len(opened) != 500 {
		t.Errorf("%d sockets were closed and %d opened, want 500 each", len(closed), len(opened))
	}
	for _, e := range closed {
		if e.Code != 1001 || e.Server != drained {
			t.Errorf("want a close with 1001 by %s: %s", drained, e)
		}
	}
	for _, e := range opened {
		if e.Server == drained {
			t.Errorf("a client connects again to the draining server: %s", e)
		}
	}
	stall := longestStall(f, began)
	t.Logf("the clients could not run for up to %s", stall)
	checkSpread(t, "closed", closed, began, window, stall)
	checkSpread(t, "connected again", opened, began, window, stall)
}

// longestStall returns the longest time since began for which the machine let the fleet not run.
func longestStall(f *socketio.Fleet, began time.Time) (longest time.Duration) {
	for _, e := range f.Events(socketio.Stalled) {
		if e.Time().After(began) {
			longest = max(longest, time.Duration(e.Millis)*time.Millisecond)
		}
	}
	return longest
}

// checkSpread logs a histogram of events, and fails the test if they were not spread over the window. Events that come during a stall
// of the fleet are recorded together after it.
func checkSpread(t *testing.T, what string, events []socketio.Event, began time.Time, window, stall time.Duration) {
	t.Helper()
	const step = 500 * time.Millisecond
	var steps []int
	for _, e := range events {
		at := int(e.Time().Sub(began) / step)
		for len(steps) <= at {
			steps = append(steps, 0)
		}
		steps[at]++
	}
	for i, n := range steps {
		t.Logf("%s after %4.1f s: %3d %s", what, (time.Duration(i) * step).Seconds(), n, strings.Repeat("#", n/2))
	}
	first, last := events[0].Time(), events[len(events)-1].Time()
	if took := last.Sub(first); took < window*8/10 {
		t.Errorf("%s within %s, want it spread over %s", what, took, window)
	}
	bound := int(float64(len(events)) / 4 * float64(step+stall) / float64(step))
	if most := slices.Max(steps); most > bound {
		t.Errorf("%s: %d of %d within %s, want at most %d", what, most, len(events), step, bound)
	}
}

// TestUpgradedSocketIOClientsSurviveReloads has clients that upgrade from polling to a WebSocket, as clients do by default.
func TestUpgradedSocketIOClientsSurviveReloads(t *testing.T) {
	const clients = 20
	l := newSocketIOProject(t, "socketio cookie", 3)
	f := l.startFleet(t, socketio.FleetOptions{V2: clients / 2, V4: clients / 2})
	harness.Eventually(t, "all clients have upgraded", func() bool { return l.serviceStatus(t, socketIOService).Sockets == clients })
	for _, n := range []string{"1", "2", "3", "4", "5"} {
		l.reloadWith(t, "header X-Reload "+n)
		if a := l.get(t, "http://edge.localhost/health"); a.header.Get("X-Reload") != n {
			t.Fatalf("the response is of configuration %q, want %s", a.header.Get("X-Reload"), n)
		}
		waitAllAnswered(t, f, clients)
	}
	for _, e := range f.Events(socketio.Closed) {
		t.Error(e)
	}
	if n := l.serviceStatus(t, socketIOService).Sockets; n != clients {
		t.Errorf("%d sockets, want %d", n, clients)
	}
}

// reloadWith reloads the edge's configuration with one more line in its site.
func (l *socketIOProject) reloadWith(t *testing.T, line string) {
	t.Helper()
	text, err := os.ReadFile("socketio/Caddyfile")
	if err != nil {
		t.Fatal(err)
	}
	text = bytes.Replace(text, []byte("\thealth\n"), []byte("\thealth\n\t"+line+"\n"), 1)
	resp, err := http.Post("http://127.0.0.1:"+l.admin+"/load", "text/caddyfile", bytes.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		t.Fatalf("the edge refuses the reload: %s", resp.Status)
	}
}
