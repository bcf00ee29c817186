package socketproxy_test

import (
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/theworklabs/edge/internal/socketproxy"
)

// containerID is an ID of 64 times the same digit.
func containerID(digit string) string { return strings.Repeat(digit, 64) }

// unhealthyContainer is what the Docker Engine says of a container.
func unhealthyContainer(label, running, paused, health string) string {
	return fmt.Sprintf(`{"Name":"/p-api-1","Config":{"Env":["PASSWORD=hunter2"],"Labels":{"edge.restart":%q}},"State":{"Running":%s,"Paused":%s,"Health":%s}}`, label, running, paused, health)
}

// TestOnlyLabelledUnhealthyContainersAreRestarted: the Docker Engine's word counts, not the client's.
func TestOnlyLabelledUnhealthyContainersAreRestarted(t *testing.T) {
	const unhealthy = `{"Status":"unhealthy"}`
	id := containerID("a")
	for name, c := range map[string]struct {
		inspection string
		target     string
		status     int
		says       string
		restarted  bool
	}{
		"unhealthy":                {unhealthyContainer("unhealthy", "true", "false", unhealthy), "/containers/" + id + "/restart", 204, "", true},
		"with a version":           {unhealthyContainer("unhealthy", "true", "false", unhealthy), "/v1.41/containers/" + id + "/restart", 204, "", true},
		"with a query":             {unhealthyContainer("unhealthy", "true", "false", unhealthy), "/containers/" + id + "/restart?t=0&signal=KILL", 204, "", true},
		"without the label":        {unhealthyContainer("", "true", "false", unhealthy), "/containers/" + id + "/restart", 409, "no label edge.restart: unhealthy", false},
		"with another label":       {unhealthyContainer("never", "true", "false", unhealthy), "/containers/" + id + "/restart", 409, "no label edge.restart: unhealthy", false},
		"healthy":                  {unhealthyContainer("unhealthy", "true", "false", `{"Status":"healthy"}`), "/containers/" + id + "/restart", 409, "does not say that it is unhealthy", false},
		"starting":                 {unhealthyContainer("unhealthy", "true", "false", `{"Status":"starting"}`), "/containers/" + id + "/restart", 409, "does not say that it is unhealthy", false},
		"without a health check":   {unhealthyContainer("unhealthy", "true", "false", "null"), "/containers/" + id + "/restart", 409, "does not say that it is unhealthy", false},
		"stopped":                  {unhealthyContainer("unhealthy", "false", "false", unhealthy), "/containers/" + id + "/restart", 409, "it does not run", false},
		"paused":                   {unhealthyContainer("unhealthy", "true", "true", unhealthy), "/containers/" + id + "/restart", 409, "it does not run", false},
		"unknown":                  {"", "/containers/" + id + "/restart", 404, "no such container", false},
		"not JSON":                 {"{", "/containers/" + id + "/restart", 502, "read the container", false},
		"a name":                   {unhealthyContainer("unhealthy", "true", "false", unhealthy), "/containers/p-api-1/restart", 403, "does not forward POST", false},
		"an escaped slash":         {unhealthyContainer("unhealthy", "true", "false", unhealthy), "/containers%2F" + id + "/restart", 403, "does not forward POST", false},
		"a stop":                   {unhealthyContainer("unhealthy", "true", "false", unhealthy), "/containers/" + id + "/stop", 403, "does not forward POST", false},
		"dots that lead elsewhere": {unhealthyContainer("unhealthy", "true", "false", unhealthy), "/containers/" + id + "/../x/restart", 403, "does not forward POST", false},
	} {
		t.Run(name, func(t *testing.T) {
			e := newFakeEngine(t, func(w http.ResponseWriter, r *http.Request) {
				switch {
				case r.Method == http.MethodPost:
					w.WriteHeader(http.StatusNoContent)
				case c.inspection == "":
					http.Error(w, `{"message":"No such container"}`, http.StatusNotFound)
				default:
					_, _ = io.WriteString(w, c.inspection)
				}
			})
			s := newProxyServer(t, e.socket, func(p *socketproxy.Proxy) { p.AllowRestarts(t.Logf) })
			got := s.do(http.MethodPost, c.target)
			if got.status != c.status || !strings.Contains(got.body, c.says) || strings.Contains(got.body, "hunter2") {
				t.Errorf("got %d %q, want %d %q", got.status, got.body, c.status, c.says)
			}
			if isRestarted := slices.Contains(e.takeRequests(), "POST /containers/"+id+"/restart"); isRestarted != c.restarted {
				t.Errorf("it was restarted: %t, want %t", isRestarted, c.restarted)
			}
		})
	}
}

// TestRestartsNeedTheFlag: without AllowRestarts, none is forwarded.
func TestRestartsNeedTheFlag(t *testing.T) {
	e := newFakeEngine(t, dockerHandler)
	s := newProxyServer(t, e.socket)
	if got := s.do(http.MethodPost, "/containers/"+containerID("a")+"/restart"); got.status != http.StatusForbidden {
		t.Errorf("got %d", got.status)
	}
	if requests := e.takeRequests(); len(requests) > 0 {
		t.Errorf("the Engine got %v", requests)
	}
}

// TestRestartsHaveARate: a container that stays unhealthy is not restarted for ever.
func TestRestartsHaveARate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		limits := socketproxy.NewRestartLimits()
		refused := func(digit string) bool { return limits.Take(containerID(digit), time.Now()) != "" }
		if refused("a") || !refused("a") {
			t.Error("a second restart within a minute, want one")
		}
		time.Sleep(time.Minute)
		if refused("a") {
			t.Error("the second one after a minute is refused")
		}
		time.Sleep(time.Minute)
		if refused("a") {
			t.Error("the third one is refused")
		}
		time.Sleep(time.Minute)
		if !refused("a") {
			t.Error("a fourth one in half an hour")
		}
		if refused("b") {
			t.Error("another container is refused")
		}
		time.Sleep(27 * time.Minute)
		if refused("a") {
			t.Error("refused after half an hour")
		}
		for i := range 8 {
			if refused(fmt.Sprint(i)) != (i >= 6) { // three of a, one of b, and six others are ten
				t.Errorf("container %d", i)
			}
		}
	})
}
