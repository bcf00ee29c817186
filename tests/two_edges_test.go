package tests

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"net"
	"net/http"
	"net/http/cookiejar"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"

	"github.com/theworklabs/edge/internal/registry"
	"github.com/theworklabs/edge/internal/testport"
	"github.com/theworklabs/edge/tests/harness"
)

// twoEdges is two edges behind HAProxy, with the shipped configuration of both.
type twoEdges struct {
	*project
	https string // the port of HAProxy
}

func newTwoEdges(t *testing.T) *twoEdges {
	t.Helper()
	p := &twoEdges{project: newProject(t, "", "two-edges/compose.yaml"), https: testport.Port(t)}
	p.Env = []string{"TWO_EDGES_NET=10.213.109", "TWO_EDGES_HTTPS=" + p.https}
	p.MustCompose(t, "up", "--detach")
	for _, edge := range []string{"edge-1", "edge-2"} {
		p.eventuallyServes(t, edge)
	}
	return p
}

// eventuallyServes waits until an edge serves its clients, and HAProxy sends it some.
func (p *twoEdges) eventuallyServes(t *testing.T, edge string) {
	t.Helper()
	client := p.client(nil)
	client.Transport.(*http.Transport).DisableKeepAlives = true
	harness.Eventually(t, edge+" serves", func() bool { return harness.Exchange(client, http.MethodGet, accountingEcho) == nil })
	harness.Eventually(t, edge+" is healthy", func() bool {
		out, err := harness.RunDocker(t.Context(), "inspect", "--format", "{{.State.Health.Status}}", p.container(t, edge))
		return err == nil && out == "healthy"
	})
	time.Sleep(3 * time.Second) // HAProxy wants two checks to pass
}

const accountingEcho = "https://accounting.localhost/api/echo"

// client returns a client of HAProxy.
func (p *twoEdges) client(jar http.CookieJar) *http.Client {
	return &http.Client{
		Timeout: 30 * time.Second, Jar: jar,
		Transport: &http.Transport{
			TLSClientConfig: &tls.Config{InsecureSkipVerify: true},
			DialContext: func(ctx context.Context, network, _ string) (net.Conn, error) {
				return new(net.Dialer).DialContext(ctx, network, net.JoinHostPort("127.0.0.1", p.https))
			},
		},
	}
}

// echo is what a backend tells of a request.
type echo struct {
	Name    string
	Headers http.Header
}

func (p *twoEdges) echo(t *testing.T, client *http.Client) (e echo) {
	t.Helper()
	resp, err := harness.Do(client, http.MethodGet, accountingEcho, nil)
	if err == nil && resp.Status != http.StatusOK {
		err = errors.New(resp.Body)
	}
	if err == nil {
		err = json.Unmarshal([]byte(resp.Body), &e)
	}
	if err != nil {
		t.Fatal(err)
	}
	return e
}

// serving returns the edge to which HAProxy sends the clients of this machine.
func (p *twoEdges) serving(t *testing.T) (edge, other string) {
	t.Helper()
	before := p.requests(t, "edge-1")
	p.echo(t, p.client(nil))
	if p.requests(t, "edge-1") > before {
		return "edge-1", "edge-2"
	}
	return "edge-2", "edge-1"
}

// requests returns how many requests to the accounting site an edge has in its access log.
func (p *twoEdges) requests(t *testing.T, edge string) int {
	t.Helper()
	time.Sleep(200 * time.Millisecond) // the log is written behind the response
	return strings.Count(p.MustCompose(t, "logs", "--no-log-prefix", edge), `"host":"accounting.localhost"`)
}

// TestTwoEdgesBehindHAProxy stops the edge that serves, and then has its host fail. Sessions stay with their container, WebSockets are asked to connect again, the
// applications know the clients, and maintenance and drains are those of both.
func TestTwoEdgesBehindHAProxy(t *testing.T) {
	harness.LongOnly(t, "test-long")
	t.Parallel()
	p := newTwoEdges(t)
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	first := p.echo(t, p.client(jar))
	if got := strings.Join(first.Headers["X-Real-Ip"], " "); got != "10.213.109.1" {
		t.Errorf("the application gets the client address %q, want that of the host", got)
	}
	wantSameContainer := func(what string) {
		t.Helper()
		client := p.client(jar)
		defer client.CloseIdleConnections()
		for range 5 {
			if got := p.echo(t, client); got.Name != first.Name {
				t.Errorf("%s, the session has moved from %s to %s", what, first.Name, got.Name)
			}
		}
	}
	wantSameContainer("on the same edge")

	for _, c := range []struct {
		what     string
		end      func(edge string)
		undo     func(edge string)
		maxPOST  int
		maxOther int
		code     websocket.StatusCode // with which WebSockets are closed; -1: they break off
	}{
		{
			what: "the edge is stopped",
			end:  func(edge string) { p.MustCompose(t, "stop", "--timeout", "40", edge) },
			undo: func(edge string) { p.MustCompose(t, "start", edge) },
			code: websocket.StatusGoingAway,
		},
		{
			// What it was handling is lost: at most one request of each client.
			what: "its host fails", maxPOST: harness.LoadClients, maxOther: harness.LoadClients,
			end:  func(edge string) { p.MustCompose(t, "kill", gateOf(edge), edge) },
			undo: func(edge string) { p.MustCompose(t, "start", gateOf(edge), edge) },
			code: -1,
		},
	} {
		serving, _ := p.serving(t)
		t.Logf("%s serves", serving)
		sockets := p.openSockets(t, 5)
		l := harness.StartLoad(t, "edge", func(int) *http.Client { return p.client(nil) }, func(int) string { return accountingEcho })
		time.Sleep(2 * time.Second)
		c.end(serving)
		time.Sleep(4 * time.Second)
		wantSameContainer(c.what + ", and the other one serves")
		time.Sleep(4 * time.Second)
		idempotent, post, longest := l.Report(t, c.what)
		if idempotent > c.maxOther || post > c.maxPOST {
			t.Errorf("%s: %d idempotent requests and %d POSTs were lost, want at most %d and %d", c.what, idempotent, post, c.maxOther, c.maxPOST)
		}
		if longest > 5*time.Second {
			t.Errorf("%s: a request took %s", c.what, longest)
		}
		if now, _ := p.serving(t); now == serving {
			t.Errorf("%s, and %s still serves", c.what, serving)
		}
		for _, socket := range sockets {
			if code := socket.code(); code != c.code {
				t.Errorf("%s: a WebSocket ended with %d, want %d", c.what, code, c.code)
			}
		}
		c.undo(serving)
		p.eventuallyServes(t, serving)
	}
	p.wantSharedMaintenance(t)
	p.wantSharedDrain(t)
}

// wantSharedDrain: a container that one edge is told to drain gets no requests of the other one, until that is told to undo it.
func (p *twoEdges) wantSharedDrain(t *testing.T) {
	t.Helper()
	serving, other := p.serving(t)
	endpoints := func(edge string) []registry.EndpointStatus {
		var services []registry.ServiceStatus
		if err := json.Unmarshal([]byte(p.MustCompose(t, "exec", "-T", edge, "edge", "status", "--json")), &services); err != nil {
			t.Fatal(err)
		}
		for _, s := range services {
			if s.Service == "bigcapital-server:3000" && len(s.Endpoints) == 2 {
				return s.Endpoints
			}
		}
		t.Fatalf("%s does not know both containers: %+v", edge, services)
		return nil
	}
	id := endpoints(other)[0].ID
	state := func(edge string) (state registry.State) {
		for _, e := range endpoints(edge) {
			if e.ID == id {
				state = e.State
			}
		}
		return state
	}
	start := time.Now()
	p.MustCompose(t, "exec", "-T", other, "edge", "drain", id, "--sessions", "0s", "--wait", "10s")
	if got := state(serving); got != registry.Draining { // --wait waits for that, too
		t.Errorf("the endpoint is %v at %s, want draining", got, serving)
	}
	t.Logf("both edges drain the container after %s", time.Since(start).Round(100*time.Millisecond))
	names := make(map[string]bool)
	for range 20 {
		client := p.client(nil)
		names[p.echo(t, client).Name] = true
		client.CloseIdleConnections()
	}
	if len(names) != 1 {
		t.Errorf("requests went to %v, want the one container that is not drained", names)
	}
	p.MustCompose(t, "exec", "-T", serving, "edge", "drain", id, "--undo")
	harness.Eventually(t, other+" no longer drains it", func() bool { return state(other) == registry.Ready })
}

// wantSharedMaintenance: what an operator says to one edge, the other one does, too.
func (p *twoEdges) wantSharedMaintenance(t *testing.T) {
	t.Helper()
	serving, other := p.serving(t)
	p.MustCompose(t, "exec", "-T", other, "edge", "maintenance", "on", "bigcapital-server")
	status := func() int {
		client := p.client(nil)
		defer client.CloseIdleConnections()
		resp, err := harness.Do(client, http.MethodGet, accountingEcho, nil)
		if err != nil {
			t.Fatal(err)
		}
		return resp.Status
	}
	start := time.Now()
	harness.Eventually(t, serving+" is in maintenance, too", func() bool { return status() == http.StatusServiceUnavailable })
	t.Logf("the other edge followed after %s", time.Since(start).Round(100*time.Millisecond))
	p.MustCompose(t, "exec", "-T", other, "edge", "maintenance", "off", "bigcapital-server")
	harness.Eventually(t, serving+" serves again", func() bool { return status() == http.StatusOK })
}

// gateOf returns the gate on the host of an edge.
func gateOf(edge string) string { return strings.Replace(edge, "edge", "gate", 1) }

// openSocket is a WebSocket that a goroutine reads.
type openSocket struct {
	conn  *websocket.Conn
	ended chan websocket.StatusCode
}

func (p *twoEdges) openSockets(t *testing.T, n int) (all []*openSocket) {
	t.Helper()
	for range n {
		client := p.client(nil)
		client.Timeout = 0
		conn, _, err := websocket.Dial(t.Context(), "wss://accounting.localhost/api/websocket", &websocket.DialOptions{HTTPClient: client})
		if err != nil {
			t.Fatal(err)
		}
		s := &openSocket{conn, make(chan websocket.StatusCode, 1)}
		t.Cleanup(func() { _ = conn.CloseNow() })
		go func() {
			_, _, err := conn.Read(context.Background())
			s.ended <- websocket.CloseStatus(err)
		}()
		all = append(all, s)
	}
	return all
}

// code returns the code with which the socket was closed; -1 if it broke off, -2 if it is still open.
func (s *openSocket) code() websocket.StatusCode {
	select {
	case code := <-s.ended:
		return code
	case <-time.After(5 * time.Second):
		return -2
	}
}
