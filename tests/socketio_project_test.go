package tests

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/theworklabs/edge/tests/harness"
	"github.com/theworklabs/edge/tests/socketio"
)

const socketIOService = "server:3000"

// socketIOProject is an edge in front of socket.io servers.
type socketIOProject struct {
	*project
	stopTimes map[string]time.Time // by server: when the test began to stop it
}

// newSocketIOProject starts an edge with an affinity setting in front of n servers.
func newSocketIOProject(t *testing.T, affinity string, n int) *socketIOProject {
	t.Helper()
	l := &socketIOProject{newProject(t, "socketio", "socketio/compose.yaml"), make(map[string]time.Time)}
	l.admin = harness.FreePort(t)
	l.Env = []string{"LAB_HTTP=" + l.http, "LAB_ADMIN=" + l.admin, "LAB_AFFINITY=" + affinity}
	l.MustCompose(t, "up", "--detach", "--scale", fmt.Sprintf("server=%d", n))
	l.waitReady(t, socketIOService, n)
	return l
}

// startFleet starts clients and waits until each has got an answer.
func (l *socketIOProject) startFleet(t *testing.T, o socketio.FleetOptions) *socketio.Fleet {
	t.Helper()
	o.URL = "http://127.0.0.1:" + l.http
	f, err := socketio.StartFleet(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		sent, answered, err := f.Stop()
		if err != nil {
			t.Error(err)
		}
		t.Logf("%d messages, %d answered", sent, answered)
	})
	t.Cleanup(func() { logClientsWithoutSession(t, f) })
	harness.Eventually(t, "all clients have a session", func() bool { return len(f.Sessions()) == o.V2+o.V4 })
	waitAllAnswered(t, f, o.V2+o.V4)
	return f
}

// waitAllAnswered waits until each of n clients gets an answer to a message that it sends from now on.
func waitAllAnswered(t *testing.T, f *socketio.Fleet, n int) {
	t.Helper()
	if err := f.ResetAnswered(); err != nil {
		t.Fatal(err)
	}
	harness.Eventually(t, "all clients get an answer", func() bool { return f.AnsweredCount() == n })
}

// serverNames returns the names of the servers: the first 12 characters of their containers' IDs.
func (l *socketIOProject) serverNames(t *testing.T) []string {
	t.Helper()
	ids := strings.Fields(l.MustCompose(t, "ps", "--quiet", "server"))
	for i, id := range ids {
		ids[i] = id[:12]
	}
	return ids
}

// scale changes the number of servers. Compose chooses which ones it stops.
func (l *socketIOProject) scale(t *testing.T, n int) {
	t.Helper()
	before, began := l.serverNames(t), time.Now()
	l.MustCompose(t, "up", "--detach", "--no-deps", "--no-recreate", "--scale", fmt.Sprintf("server=%d", n), "server")
	after := l.serverNames(t)
	for _, server := range before {
		if !slices.Contains(after, server) {
			l.stopTimes[server] = began
		}
	}
	l.waitReady(t, socketIOService, n)
}

// recreate stops one server, removes it and starts another one in its place.
func (l *socketIOProject) recreate(t *testing.T, server string) {
	t.Helper()
	n := len(l.serverNames(t))
	l.stopTimes[server] = time.Now()
	harness.MustDocker(t, "stop", "--time", "5", server)
	harness.MustDocker(t, "rm", server)
	l.scale(t, n)
}

// churn scales the servers up and down and recreates one that has sessions, while the fleet sends messages.
func (l *socketIOProject) churn(t *testing.T, f *socketio.Fleet, n int) {
	t.Helper()
	l.scale(t, 4)
	l.recreate(t, serverWithSessions(f))
	waitAllAnswered(t, f, n) // clients of the stopped server are on other servers now, also on new ones
	l.scale(t, 3)
	l.scale(t, 4)
	l.scale(t, 3)
	waitAllAnswered(t, f, n)
}

// serverWithSessions returns a server that has sessions.
func serverWithSessions(f *socketio.Fleet) string {
	for _, session := range f.Sessions() {
		return session.Server
	}
	return ""
}

// waitHealthy waits until the edge answers.
func (l *socketIOProject) waitHealthy(t *testing.T) {
	t.Helper()
	harness.Eventually(t, "the edge answers", func() bool {
		a, err := l.do(l.client(false), http.MethodGet, "http://edge.localhost/health", nil)
		return err == nil && a.status == http.StatusOK
	})
}
