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

	"github.com/theworklabs/edge/tests/socketio"
)

// polling is 500 clients that never open a WebSocket.
var polling = socketio.Options{V2: 250, V4: 250, Transports: "polling", Ramp: 4 * time.Second}

// TestSocketIOSessionsStayWhereTheyBegan: 500 clients that only poll and keep no cookie.
func TestSocketIOSessionsStayWhereTheyBegan(t *testing.T) {
	l := newSocketLab(t, "socketio", 3)
	f := l.fleet(t, polling)
	l.churn(t, f, 500)
	fate := l.fate(f)
	fate.report(t, f, "scaled and recreated")
	if fate.died.closed == 0 {
		t.Error("no session was on the servers that died: this has shown nothing")
	}
}

// TestSocketIOSessionsOutliveTheEdge: 500 clients that only poll and keep cookies. The edge's successor has learned no
// session; the cookies lead each to its server. Between the two, clients keep back what they would send.
func TestSocketIOSessionsOutliveTheEdge(t *testing.T) {
	l := newSocketLab(t, "socketio cookie", 3)
	o := polling
	o.Cookies = true
	f := l.fleet(t, o)
	before := f.Sessions()
	if err := f.Hold(); err != nil {
		t.Fatal(err)
	}
	eventually(t, "nothing is under way", func() bool { return len(f.Events(socketio.Quiet)) == 1 })
	l.must(t, "up", "--detach", "--no-deps", "--force-recreate", "edge")
	l.healthy(t)
	if err := f.Release(); err != nil {
		t.Fatal(err)
	}
	everyoneTalks(t, f, 500)
	if after := f.Sessions(); !maps.Equal(before, after) {
		t.Error("some sessions are others after the edge was replaced")
	}
	l.fate(f).report(t, f, "the edge replaced")
	l.churn(t, f, 500)
	l.fate(f).report(t, f, "then scaled and recreated")
	l.restarted(t, f)
}

// restarted restarts the edge under the clients. That ends their sessions, as a poll that is cut does; but their cookies
// lead them back. (Only those of version 2, for whom the fleet plays a browser: version 4 begins a session without the
// cookies of the last.)
func (l *socketLab) restarted(t *testing.T, f *socketio.Fleet) {
	t.Helper()
	before, refused := f.Sessions(), len(f.Events(socketio.Refused))
	l.must(t, "restart", "edge")
	l.healthy(t)
	everyoneTalks(t, f, 500)
	back := 0
	for client, session := range f.Sessions() {
		switch {
		case session.Server == before[client].Server:
			back++
		case strings.HasPrefix(client, "v2-"):
			t.Errorf("%s was on %s and is on %s:\n%s", client, before[client].Server, session.Server, story(f, client))
		}
	}
	t.Logf("restarted: %d of 500 clients are back on their server", back)
	// A server forgets a session whose poll was cut, and says so to a client that has not noticed yet.
	for _, e := range f.Events(socketio.Refused)[refused:] {
		if strings.Contains(e.Body, unknown) && e.By != e.Server {
			t.Error(e)
		}
	}
}

// TestADrainSendsSocketIOClientsElsewhereBitByBit: 500 WebSockets on one server.
func TestADrainSendsSocketIOClientsElsewhereBitByBit(t *testing.T) {
	const window = 5 * time.Second // the default of close_window
	l := newSocketLab(t, "socketio", 1)
	f := l.fleet(t, socketio.Options{V2: 250, V4: 250, Transports: "websocket", Ramp: 4 * time.Second})
	l.scale(t, 3)
	drained, began := aServer(f), time.Now()
	l.must(t, "exec", "-T", "edge", "edge", "drain", drained, "--wait", "20s")
	everyoneTalks(t, f, 500)

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
			t.Errorf("it came back to the server that is drained: %s", e)
		}
	}
	spread(t, "closed", closed, began, window)
	spread(t, "connected again", opened, began, window)
}

// spread logs when events happened, and fails the test if they were not spread over the window.
func spread(t *testing.T, what string, events []socketio.Event, began time.Time, window time.Duration) {
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
	if most := slices.Max(steps); most > len(events)/4 {
		t.Errorf("%s: %d of %d within %s", what, most, len(events), step)
	}
}

// TestSocketIOClientsThatHaveUpgradedOutliveReloads: from polling to a WebSocket, as clients do by themselves.
func TestSocketIOClientsThatHaveUpgradedOutliveReloads(t *testing.T) {
	const clients = 20
	l := newSocketLab(t, "socketio cookie", 3)
	f := l.fleet(t, socketio.Options{V2: clients / 2, V4: clients / 2})
	eventually(t, "all have upgraded", func() bool { return l.service(t, socketService).Sockets == clients })
	for _, n := range []string{"1", "2", "3", "4", "5"} {
		l.reload(t, "header X-Reload "+n)
		if a := l.get(t, "http://edge.localhost/health"); a.header.Get("X-Reload") != n {
			t.Fatalf("the answer is of configuration %q, want %s", a.header.Get("X-Reload"), n)
		}
		everyoneTalks(t, f, clients)
	}
	for _, e := range f.Events(socketio.Closed) {
		t.Error(e)
	}
	if n := l.service(t, socketService).Sockets; n != clients {
		t.Errorf("%d sockets, want %d", n, clients)
	}
}

// reload gives the edge its configuration with one more line in its site.
func (l *socketLab) reload(t *testing.T, line string) {
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
		t.Fatalf("the reload was refused: %s", resp.Status)
	}
}
