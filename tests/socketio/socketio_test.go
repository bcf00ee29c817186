package socketio

import (
	"bytes"
	"maps"
	"net/http"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/theworklabs/edge/tests/harness"
)

// pollingClients are 500 clients that never open a WebSocket.
var pollingClients = FleetOptions{V2: 250, V4: 250, Transports: "polling", Ramp: 4 * time.Second}

// TestSessionsStayOnTheirServer has 500 clients that only poll and keep no cookie.
func TestSessionsStayOnTheirServer(t *testing.T) {
	p := startProject(t, "socketio", 3)
	f := p.startFleet(t, pollingClients)
	p.churn(t, f, 500)
	outcomes := p.sessionOutcomes(f)
	outcomes.check(t, f, "scaled and recreated")
	if outcomes.stoppedServers.closed == 0 {
		t.Error("no session was on a stopped server: the test has shown nothing")
	}
}

// TestSessionsSurviveReplacingTheEdge has 500 clients that only poll and keep cookies. The new edge has learned no session;
// the cookies lead each client to its server. Clients send nothing while there is no edge.
func TestSessionsSurviveReplacingTheEdge(t *testing.T) {
	p := startProject(t, "socketio cookie", 3)
	o := pollingClients
	o.Cookies = true
	f := p.startFleet(t, o)
	before := f.Sessions()
	if err := f.Pause(); err != nil {
		t.Fatal(err)
	}
	harness.Eventually(t, "no request is in flight", func() bool { return len(f.Events(Idle)) == 1 })
	p.MustCompose(t, "up", "--detach", "--no-deps", "--force-recreate", "edge")
	p.waitHealthy(t)
	if err := f.Resume(); err != nil {
		t.Fatal(err)
	}
	waitAllAnswered(t, f, 500)
	if after := f.Sessions(); !maps.Equal(before, after) {
		t.Error("some clients have another session after the edge was replaced")
	}
	p.sessionOutcomes(f).check(t, f, "edge replaced")
	p.churn(t, f, 500)
	p.sessionOutcomes(f).check(t, f, "then scaled and recreated")
	p.restartEdge(t, f)
}

// TestSessionsSurviveARolloutOfTheEdge has 200 clients that only poll, keep no cookie and go on sending messages: the new edge knows their
// sessions from the old one.
func TestSessionsSurviveARolloutOfTheEdge(t *testing.T) {
	p := startProject(t, "socketio", 3, "compose.gate.yaml")
	p.Admin = ""
	p.Setenv("LAB_ADMIN", "0") // any port, so that two edges can run
	p.MustCompose(t, "up", "--detach", "--no-deps", "edge")
	p.WaitReady(t, service, 3)
	o := pollingClients
	o.V2, o.V4 = 100, 100
	f := p.startFleet(t, o)
	before := f.Sessions()
	cmd := exec.Command(harness.Edge(t), append(append([]string{"rollout"}, p.FileArgs()...), "--force", "--drain-timeout", "10s", "edge")...)
	cmd.Env = p.Environ()
	out, err := cmd.CombinedOutput()
	if err != nil || !strings.Contains(string(out), "has taken over") {
		t.Fatalf("%v\n%s", err, out)
	}
	waitAllAnswered(t, f, 200)
	if after := f.Sessions(); !maps.Equal(before, after) {
		t.Error("some clients have another session after the edge was rolled out")
	}
	p.sessionOutcomes(f).check(t, f, "edge rolled out")
}

// restartEdge restarts the edge while clients poll. That ends their sessions, because an interrupted poll does, and the cookies lead
// the clients back to their servers. (Only those of version 2, for which the fleet keeps cookies as browsers do: version 4 begins a
// session without the cookies of the last one.)
func (p *project) restartEdge(t *testing.T, f *Fleet) {
	t.Helper()
	before, refused := f.Sessions(), len(f.Events(Refused))
	p.MustCompose(t, "restart", "edge")
	p.waitHealthy(t)
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
	for _, e := range f.Events(Refused)[refused:] {
		if strings.Contains(e.Body, unknownSession) && e.AnsweredBy != e.Server {
			t.Error(e)
		}
	}
}

// TestDrainMovesClientsGradually drains a server with 500 WebSockets.
func TestDrainMovesClientsGradually(t *testing.T) {
	const window = 5 * time.Second // the default of close_window
	p := startProject(t, "socketio", 1)
	f := p.startFleet(t, FleetOptions{V2: 250, V4: 250, Transports: "websocket", Ramp: 4 * time.Second})
	p.scale(t, 3)
	drained, began := serverWithSessions(f), time.Now()
	p.MustCompose(t, "exec", "-T", "edge", "edge", "drain", drained, "--wait", "20s")
	waitAllAnswered(t, f, 500)

	closed, opened := f.Events(Closed), f.Events(Open)[500:]
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
func longestStall(f *Fleet, began time.Time) (longest time.Duration) {
	for _, e := range f.Events(Stalled) {
		if e.Time().After(began) {
			longest = max(longest, time.Duration(e.Millis)*time.Millisecond)
		}
	}
	return longest
}

// checkSpread logs a histogram of events, and fails the test if they were not spread over the window. Events that come during a stall
// of the fleet are recorded together after it.
func checkSpread(t *testing.T, what string, events []Event, began time.Time, window, stall time.Duration) {
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

// TestUpgradedClientsSurviveReloads has clients that upgrade from polling to a WebSocket, as clients do by default.
func TestUpgradedClientsSurviveReloads(t *testing.T) {
	const clients = 20
	p := startProject(t, "socketio cookie", 3)
	f := p.startFleet(t, FleetOptions{V2: clients / 2, V4: clients / 2})
	harness.Eventually(t, "all clients have upgraded", func() bool { return p.ServiceStatus(t, service).Sockets == clients })
	for _, n := range []string{"1", "2", "3", "4", "5"} {
		p.reloadWith(t, "header X-Reload "+n)
		if a := p.Get(t, healthURL); a.Header.Get("X-Reload") != n {
			t.Fatalf("the response is of configuration %q, want %s", a.Header.Get("X-Reload"), n)
		}
		waitAllAnswered(t, f, clients)
	}
	for _, e := range f.Events(Closed) {
		t.Error(e)
	}
	if n := p.ServiceStatus(t, service).Sockets; n != clients {
		t.Errorf("%d sockets, want %d", n, clients)
	}
}

// reloadWith reloads the edge's configuration with one more line in its site.
func (p *project) reloadWith(t *testing.T, line string) {
	t.Helper()
	text, err := os.ReadFile("Caddyfile")
	if err != nil {
		t.Fatal(err)
	}
	text = bytes.Replace(text, []byte("\thealth\n"), []byte("\thealth\n\t"+line+"\n"), 1)
	resp, err := http.Post("http://127.0.0.1:"+p.Admin+"/load", "text/caddyfile", bytes.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		t.Fatalf("the edge refuses the reload: %s", resp.Status)
	}
}
