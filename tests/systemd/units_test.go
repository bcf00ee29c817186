package systemd

import (
	"strings"
	"testing"
	"time"

	"github.com/theworklabs/edge/tests/clients"
	"github.com/theworklabs/edge/tests/harness"
)

// restarts returns how often systemd restarts the edge under load: EDGE_TEST_REPLACEMENTS, by default 3. Each takes about 6 s.
func restarts(t *testing.T) int {
	t.Helper()
	return harness.Count(t, "EDGE_TEST_REPLACEMENTS", 3)
}

func TestNoRequestIsLostWhileSystemdRestartsTheEdge(t *testing.T) {
	h := newHost(t)
	h.mustRun("systemctl", "enable", "--now", "edge.socket", "edge.service")
	h.waitServing()
	if state := h.mustRun("edge", "handover"); !strings.Contains(state, "systemd") {
		t.Errorf("edge handover: %s", state)
	}
	h.mustRun("edge", "health", "--ready")

	f := h.startLoad()
	time.Sleep(time.Second)
	for range restarts(t) {
		h.mustRun("systemctl", "restart", "edge")
		time.Sleep(3 * time.Second)
	}
	h.configure(`respond /configuration two`)
	h.mustRun("systemctl", "reload", "edge")
	time.Sleep(time.Second)
	h.write("/etc/edge/Caddyfile", "{\n\tno_such_option\n}\n")
	if out, err := h.run("systemctl", "reload", "edge"); err == nil {
		t.Errorf("a reload with a mistake succeeds: %s", out)
	}
	time.Sleep(time.Second)
	f.Stop(t)
	if got := h.mustRun("wget", "-qO-", "http://localhost/configuration"); got != "two" {
		t.Errorf("after a reload with a mistake, the configuration is %q", got)
	}
}

// TestSystemdStartsAKilledEdge: the requests that the edge had got are lost, at most one of each client; those that had not been sent are not.
// Over HTTP/3, clients notice the end only after their idle timeout, so that they are not part of this.
func TestSystemdStartsAKilledEdge(t *testing.T) {
	h := newHost(t)
	h.mustRun("systemctl", "enable", "--now", "edge.socket", "edge.service")
	h.waitServing()
	f := h.startLoad(clients.HTTP3)
	time.Sleep(time.Second)
	for range restarts(t) {
		h.mustRun("systemctl", "kill", "--signal", "KILL", "edge")
		time.Sleep(4 * time.Second)
	}
	f.FinishKills(t, restarts(t))
	h.mustRun("systemctl", "is-active", "edge")
}
