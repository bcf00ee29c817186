package tests

import (
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/theworklabs/edge/internal/testport"
	"github.com/theworklabs/edge/tests/clients"
	"github.com/theworklabs/edge/tests/harness"
	"github.com/theworklabs/edge/tests/reliability/sockets"
)

// withoutGate returns deploy/edge.compose.yaml as it was before it had a gate: the edge publishes the ports.
func withoutGate(t *testing.T, text string) string {
	t.Helper()
	gate := regexp.MustCompile(`(?s)  gate: # opens.*?\n  edge:\n`).FindString(text)
	ports := regexp.MustCompile(`    ports: .*\n`).FindString(gate)
	if ports == "" {
		t.Fatal("deploy/edge.compose.yaml has no gate with ports")
	}
	text = strings.NewReplacer(gate, "  edge:\n"+ports, `, "gate:/run/gate"`, "", "    environment: { EDGE_GATE: /run/gate/gate.sock }\n", "", "    depends_on: [gate]\n", "").Replace(text)
	return regexp.MustCompile(`(?m)^  gate: .*\n`).ReplaceAllString(text, "")
}

// httpsCaddyfile is a configuration as people write it for stock Caddy: with Caddy's own redirects, and without keep_connections.
const httpsCaddyfile = `{
	admin unix//run/edge/admin.sock
	persist_config off
	skip_install_trust
	edge {
		docker_host tcp://docker-guard:2375
	}
}
shop.localhost {
	edge_proxy shop/web:8080
}
`

// newHTTPSStack is newOwnStack with a site that has TLS.
func newHTTPSStack(t *testing.T, name string) *ownStack {
	t.Helper()
	s := newOwnStack(t, name, "", snippet(t, "your-own-stack.md", "2. Connect an application", "yaml"))
	s.write(t, "front/Caddyfile", strings.ReplaceAll(httpsCaddyfile, "shop/web", s.shop.Name+"/web"))
	s.HTTPS = testport.Port(t)
	s.Env = []string{"PUBLISH_HTTP=127.0.0.1:" + s.HTTP, "PUBLISH_HTTPS=127.0.0.1:" + s.HTTPS}
	return s
}

// startShop starts the application, and waits until the edge serves it.
func (s *ownStack) startShop(t *testing.T) {
	t.Helper()
	s.shop.MustCompose(t, "up", "--detach")
	for _, kind := range clients.All("shop.localhost") {
		if !kind.IsSecure {
			continue
		}
		client := kind.New(5 * time.Second)
		harness.EventuallyWithin(t, 30*time.Second, kind.Name+" works", func() bool {
			_, err := s.get(client)
			return err == nil
		})
		client.CloseIdleConnections()
	}
}

// get asks the application over TLS.
func (s *ownStack) get(client *http.Client) (string, error) {
	return clients.Send(client, http.MethodGet, "https://shop.localhost:"+s.HTTPS+"/_test/echo")
}

// TestAConfigurationOfStockCaddyWorksBehindTheGate: without keep_connections, the servers use the gate's sockets, too.
func TestAConfigurationOfStockCaddyWorksBehindTheGate(t *testing.T) {
	harness.LongOnly(t, "test-long")
	t.Parallel()
	s := newHTTPSStack(t, "stock")
	s.MustCompose(t, "up", "--detach", "--wait")
	s.startShop(t)
	redirected, err := clients.All("")[0].New(5 * time.Second).Get("http://shop.localhost:" + s.HTTP + "/x")
	if err != nil {
		t.Fatal(err)
	}
	defer redirected.Body.Close()
	if got := redirected.Header.Get("Location"); redirected.StatusCode != http.StatusPermanentRedirect || got != "https://shop.localhost/x" {
		t.Errorf("Caddy's own redirect: %d to %q", redirected.StatusCode, got)
	}
	// Other containers reach the edge by its name.
	inside := harness.MustDocker(t, "run", "--rm", "--network", s.network, "edge-test/base:test", "bash", "-c",
		`exec 3<>/dev/tcp/edge/80 && printf 'GET /y HTTP/1.1\r\nHost: shop.localhost\r\nConnection: close\r\n\r\n' >&3 && cat <&3`)
	if !strings.Contains(inside, "Location: https://shop.localhost/y") {
		t.Errorf("a container that asks the edge by its name gets %q", inside)
	}
	if logs := s.MustCompose(t, "logs", "edge"); strings.Contains(logs, "no server of the configuration takes") {
		t.Errorf("the edge reports a socket that nobody takes:\n%s", logs)
	}
	// A reload replaces Caddy's redirects by a site, which has another listener, and that by the redirects again.
	for _, c := range []struct {
		site string
		want int
	}{{"http://shop.localhost {\n\tedge_proxy shop/web:8080\n}\n", http.StatusOK}, {"", http.StatusPermanentRedirect}} {
		reload := exec.Command("docker", "exec", "--interactive", s.container(t, "edge"), "edge", "reload", "--adapter", "caddyfile", "--config", "-")
		reload.Stdin = strings.NewReader(strings.ReplaceAll(httpsCaddyfile+c.site, "shop/web", s.shop.Name+"/web"))
		if out, err := reload.CombinedOutput(); err != nil {
			t.Fatalf("reload: %v\n%s", err, out)
		}
		s.WaitForStatus(t, "http://shop.localhost/_test/echo", c.want)
	}
	out := s.run(t, "front", "check", "--project-name", s.Name)
	if !strings.Contains(out, "is published by "+s.Name+"-gate-1") {
		t.Errorf("edge check does not know the gate:\n%s", out)
	}
}

// bothCaddyfile has the application with and without TLS.
const bothCaddyfile = `{
	admin unix//run/edge/admin.sock
	persist_config off
	skip_install_trust
	auto_https disable_redirects
	grace_period 20s
	servers {
		listener_wrappers {
			keep_connections
		}
	}
	edge {
		docker_host tcp://docker-guard:2375
	}
}
http://shop.localhost, https://shop.localhost {
	sanitize_request
	edge_proxy shop/web:8080
}
`

// newGateStack starts an edge with a gate in front of an application, with TLS and without.
func newGateStack(t *testing.T, name string) *ownStack {
	t.Helper()
	s := newHTTPSStack(t, name)
	s.write(t, "front/Caddyfile", strings.ReplaceAll(bothCaddyfile, "shop/web", s.shop.Name+"/web"))
	s.MustCompose(t, "up", "--detach", "--wait")
	s.startShop(t)
	s.WaitForStatus(t, "http://shop.localhost/_test/echo", http.StatusOK)
	return s
}

// url returns a test route of the application for clients of a kind.
func (s *ownStack) url(k clients.Kind, route string) string {
	if k.IsSecure {
		return "https://shop.localhost:" + s.HTTPS + "/_test/" + route
	}
	return "http://shop.localhost:" + s.HTTP + "/_test/" + route
}

// startLoad sends 200 requests a second of all kinds of clients.
func (s *ownStack) startLoad(t *testing.T) *clients.Load {
	return clients.StartLoad(t, "shop.localhost", func(k clients.Kind) string { return s.url(k, "echo") })
}

// rollOutEdge replaces the edge, and returns what the rollout printed.
func (s *ownStack) rollOutEdge(t *testing.T, flags ...string) string {
	t.Helper()
	return s.run(t, "front", append([]string{"rollout", "--project-name", s.Name, "--force", "edge"}, flags...)...)
}

// TestTheEdgeIsRolledOut replaces the edge under load.
func TestTheEdgeIsRolledOut(t *testing.T) {
	t.Parallel()
	s := newGateStack(t, "rolled")
	load := s.startLoad(t)
	before := s.container(t, "edge")
	if out := s.rollOutEdge(t, "--drain-timeout", "5s"); !strings.Contains(out, "has taken over from") {
		t.Errorf("the rollout printed\n%s", out)
	}
	if after := s.container(t, "edge"); after == before {
		t.Error("the edge is the same")
	}
	load.Stop(t)
	if again := s.run(t, "front", "rollout", "--project-name", s.Name, "edge"); !strings.Contains(again, "nothing to do") {
		t.Errorf("a second rollout printed\n%s", again)
	}
	s.MustCompose(t, "up", "--detach")
	if n := len(s.containerIDs(t, "edge")); n != 1 {
		t.Errorf("%d edges run", n)
	}
}

// TestLongRequestsOutliveARolloutOfTheEdge: uploads, downloads and waiting requests finish on the old edge, and WebSockets are asked to reconnect.
func TestLongRequestsOutliveARolloutOfTheEdge(t *testing.T) {
	t.Parallel()
	s := newGateStack(t, "long")
	transfers := s.startTransfers(t, 12*time.Second)
	opened, err := sockets.Open(t.Context(), sockets.Target{Address: "127.0.0.1:" + s.HTTP, Host: "shop.localhost", Path: "/_test/websocket"}, 100)
	if err != nil {
		t.Fatal(err)
	}
	defer opened.Close()
	time.Sleep(time.Second)
	began := time.Now()
	out := s.rollOutEdge(t, "--drain-timeout", "30s")
	t.Logf("%s", out)
	transfers.Wait()
	tally := opened.Count(began, 5*time.Second)
	t.Logf("of %d WebSockets %d are open, and the others ended with the codes %v", tally.Opened, tally.Alive, tally.Codes)
	if tally.Codes[sockets.CodeNone] > 0 || tally.Codes[sockets.CodeSilent] > 0 {
		t.Errorf("WebSockets were cut: %v", tally.Codes)
	}
}

// TestWaitingRequestsOutliveARolloutOfTheEdge: the old edge goes on holding them until the service is back.
func TestWaitingRequestsOutliveARolloutOfTheEdge(t *testing.T) {
	harness.LongOnly(t, "test-long")
	t.Parallel()
	s := newGateStack(t, "waiting")
	s.shop.MustCompose(t, "stop", "--timeout", "1", "web")
	waiting := s.startWaiting(t, "shop.localhost")
	time.Sleep(time.Second)
	rolledOut := make(chan string)
	go func() { rolledOut <- s.rollOutEdge(t, "--drain-timeout", "30s") }()
	time.Sleep(8 * time.Second)
	s.shop.MustCompose(t, "start", "web")
	waiting.Wait()
	if out := <-rolledOut; !strings.Contains(out, "has taken over from") {
		t.Errorf("the rollout printed\n%s", out)
	}
}

// TestAnEdgeThatDoesNotStartIsRolledBack: the file names a port that nothing listens on as its Docker Engine, and a service that is missing.
func TestAnEdgeThatDoesNotStartIsRolledBack(t *testing.T) {
	t.Parallel()
	s := newOwnStack(t, "back", snippet(t, "your-own-stack.md", "1. Start the edge", "caddyfile"), snippet(t, "your-own-stack.md", "2. Connect an application", "yaml"))
	s.MustCompose(t, "up", "--detach", "--wait")
	s.shop.MustCompose(t, "up", "--detach")
	s.WaitForStatus(t, "http://shop.localhost/_test/echo", http.StatusOK)
	before := s.container(t, "edge")
	good, err := os.ReadFile(s.dir + "/front/Caddyfile")
	if err != nil {
		t.Fatal(err)
	}
	s.loadAllMethodsDuring(t, "http://shop.localhost/_test", 50, func() {
		s.write(t, "front/Caddyfile", strings.Replace(string(good), "edge_proxy", "edge_porxy", 1))
		out := s.fail(t, "front", "rollout", "--project-name", s.Name, "--force", "--timeout", "20s", "edge")
		for _, want := range []string{"edge_porxy", "the new edge is removed, the old one serves as before"} {
			if !strings.Contains(out, want) {
				t.Errorf("the rollout of an edge that can't start lacks %q:\n%s", want, out)
			}
		}
	})
	harness.CheckUnchanged(t, "the edge", []string{before}, s.containerIDs(t, "edge"))
}

// TestTheEdgeIsRecreated is `docker compose up` with another image, under load: connections wait in the gate.
func TestTheEdgeIsRecreated(t *testing.T) {
	harness.LongOnly(t, "test-long")
	s := newOwnStack(t, "recreated", snippet(t, "your-own-stack.md", "1. Start the edge", "caddyfile"), snippet(t, "your-own-stack.md", "2. Connect an application", "yaml"))
	s.MustCompose(t, "up", "--detach", "--wait")
	s.shop.MustCompose(t, "up", "--detach")
	s.WaitForStatus(t, "http://shop.localhost/_test/echo", http.StatusOK)
	gate := s.container(t, "gate")
	s.loadAllMethodsDuring(t, "http://shop.localhost/_test", 100, func() {
		s.MustCompose(t, "up", "--detach", "--force-recreate", "--no-deps", "edge")
		s.WaitForStatus(t, "http://shop.localhost/_test/echo", http.StatusOK)
	})
	if s.container(t, "gate") != gate {
		t.Error("the gate was replaced")
	}
}

// TestOthersGetNoSocketsOfTheGate attacks the gate from containers that have its volume.
func TestOthersGetNoSocketsOfTheGate(t *testing.T) {
	t.Parallel()
	s := newOwnStack(t, "attacked", snippet(t, "your-own-stack.md", "1. Start the edge", "caddyfile"), snippet(t, "your-own-stack.md", "2. Connect an application", "yaml"))
	s.MustCompose(t, "up", "--detach", "--wait")
	s.shop.MustCompose(t, "up", "--detach")
	s.WaitForStatus(t, "http://shop.localhost/_test/echo", http.StatusOK)
	for _, c := range []struct{ name, user, want string }{
		{"another user", "1001:1001", "permission denied"},
		{"root without capabilities", "0:0", "permission denied"},
		{"the group of the edge", "1001:1000", "permission denied"},
	} {
		out, err := harness.RunDocker(t.Context(), "run", "--rm", "--network", "none", "--user", c.user, "--cap-drop", "ALL", "-v", s.Name+"_gate:/run/gate", "edge-gate:dev", "--health")
		if err == nil || !strings.Contains(fmt.Sprint(err, out), c.want) {
			t.Errorf("%s: %v %s, want %q", c.name, err, out, c.want)
		}
	}
	// Root with its usual capabilities can open the socket, and is refused.
	out, err := harness.RunDocker(t.Context(), "run", "--rm", "--network", "none", "--user", "0:0", "-v", s.Name+"_gate:/run/gate", "edge-gate:dev", "--health")
	if err == nil || !strings.Contains(fmt.Sprint(err, out), "it serves user 1000") {
		t.Errorf("root: %v %s", err, out)
	}
	s.CheckGet(t, "http://shop.localhost/_test/echo", harness.Want{Contains: `"shop"`})
}
