package socketio

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/theworklabs/edge/internal/testport"
	"github.com/theworklabs/edge/tests/harness"
)

const (
	service   = "server:3000"
	healthURL = "http://edge.localhost/health"
)

// project is an edge in front of socket.io servers.
type project struct {
	harness.Project
	stopTimes map[string]time.Time // by server: when the test began to stop it
}

// startProject starts an edge with an affinity setting in front of n servers. files are more compose files.
func startProject(t *testing.T, affinity string, n int, files ...string) *project {
	t.Helper()
	p := &project{
		Project: harness.Project{
			Name: "edgesocketio" + strings.ToLower(t.Name()), Files: append([]string{"compose.yaml"}, files...),
			HTTP: testport.Port(t), Admin: testport.Port(t),
		},
		stopTimes: make(map[string]time.Time),
	}
	p.Env = []string{"LAB_HTTP=" + p.HTTP, "LAB_ADMIN=" + p.Admin, "LAB_AFFINITY=" + affinity}
	p.Cleanup(t)
	p.MustCompose(t, "up", "--detach", "--scale", fmt.Sprintf("server=%d", n))
	p.WaitReady(t, service, n)
	return p
}

// startFleet starts clients and waits until each has got an answer.
func (p *project) startFleet(t *testing.T, o FleetOptions) *Fleet {
	t.Helper()
	o.URL = "http://127.0.0.1:" + p.HTTP
	f, err := StartFleet(o)
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
func waitAllAnswered(t *testing.T, f *Fleet, n int) {
	t.Helper()
	if err := f.ResetAnswered(); err != nil {
		t.Fatal(err)
	}
	harness.Eventually(t, "all clients get an answer", func() bool { return f.AnsweredCount() == n })
}

// serverNames returns the names of the servers: the first 12 characters of their containers' IDs.
func (p *project) serverNames(t *testing.T) []string {
	t.Helper()
	ids := strings.Fields(p.MustCompose(t, "ps", "--quiet", "server"))
	for i, id := range ids {
		ids[i] = id[:12]
	}
	return ids
}

// scale changes the number of servers. Compose chooses which ones it stops.
func (p *project) scale(t *testing.T, n int) {
	t.Helper()
	before, began := p.serverNames(t), time.Now()
	p.MustCompose(t, "up", "--detach", "--no-deps", "--no-recreate", "--scale", fmt.Sprintf("server=%d", n), "server")
	after := p.serverNames(t)
	for _, server := range before {
		if !slices.Contains(after, server) {
			p.stopTimes[server] = began
		}
	}
	p.WaitReady(t, service, n)
}

// recreate stops one server, removes it and starts another one in its place.
func (p *project) recreate(t *testing.T, server string) {
	t.Helper()
	n := len(p.serverNames(t))
	p.stopTimes[server] = time.Now()
	harness.MustDocker(t, "stop", "--time", "5", server)
	harness.MustDocker(t, "rm", server)
	p.scale(t, n)
}

// churn scales the servers up and down and recreates one that has sessions, while the fleet sends messages.
func (p *project) churn(t *testing.T, f *Fleet, n int) {
	t.Helper()
	p.scale(t, 4)
	p.recreate(t, serverWithSessions(f))
	waitAllAnswered(t, f, n) // clients of the stopped server are on other servers now, also on new ones
	p.scale(t, 3)
	p.scale(t, 4)
	p.scale(t, 3)
	waitAllAnswered(t, f, n)
}

// serverWithSessions returns a server that has sessions.
func serverWithSessions(f *Fleet) string {
	for _, session := range f.Sessions() {
		return session.Server
	}
	return ""
}

// waitHealthy waits until the edge answers.
func (p *project) waitHealthy(t *testing.T) {
	t.Helper()
	p.WaitForStatus(t, healthURL, http.StatusOK)
}
