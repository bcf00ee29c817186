package tests

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/theworklabs/edge/tests/harness"
)

// TestEdgeReachesApplicationsButNotTheirDatabases connects from the edge's network namespace, by name and by address.
func TestEdgeReachesApplicationsButNotTheirDatabases(t *testing.T) {
	p := readyStack(t)
	t.Parallel()
	edge := p.container(t, "edge")
	for _, c := range []struct {
		service string
		port    int
		reached bool
	}{
		{"bigcapital-server", 3000, true},
		{"bigcapital-webapp", 80, true},
		{"corteza-server", 80, true},
		{"corteza-docs", 80, true},
		{"docker-guard", 2375, true},
		{"bigcapital-mysql", 3306, false},
		{"bigcapital-redis", 6379, false},
		{"bigcapital-gotenberg", 9000, false},
		{"corteza-db", 5432, false},
	} {
		to := append(containerAddresses(t, p.container(t, c.service)), c.service)
		got := canConnect(t, edge, c.port, to)
		if !c.reached {
			got = !isIsolated(t, edge, c.port, to)
		}
		if got != c.reached {
			t.Errorf("the edge reaches %s at one of %s: %t, want %t", c.service, to, got, c.reached)
		}
	}
}

// TestTheGateReachesNothing: it only opens sockets.
func TestTheGateReachesNothing(t *testing.T) {
	p := readyStack(t)
	t.Parallel()
	gate := p.container(t, "gate")
	for service, port := range map[string]int{
		"edge": 443, "docker-guard": 2375, "bigcapital-server": 3000, "corteza-server": 80, "bigcapital-mysql": 3306, "corteza-db": 5432,
	} {
		to := append(containerAddresses(t, p.container(t, service)), service)
		if !isIsolated(t, gate, port, to) {
			t.Errorf("the gate reaches %s at one of %s", service, to)
		}
	}
}

// TestApplicationsCannotReachTheGuard: whoever can use the Docker socket has root on the host.
func TestApplicationsCannotReachTheGuard(t *testing.T) {
	p := readyStack(t)
	t.Parallel()
	to := append(containerAddresses(t, p.container(t, "docker-guard")), "docker-guard")
	for _, service := range []string{"bigcapital-server", "bigcapital-webapp", "corteza-server", "corteza-docs", "bigcapital-gotenberg", "corteza-db"} {
		if !isIsolated(t, p.container(t, service), 2375, to) {
			t.Errorf("%s reaches the guard at one of %s", service, to)
		}
	}
}

// isIsolated reports whether a program in a container's network namespace cannot open a TCP connection to any of the hosts. While the Docker
// Engine (20.10) creates or removes another network, as the tests that run in parallel do, its rules let connections between networks
// through for an instant: of 231 tries beside such a loop, 7 succeeded. So it tries again; without isolation, every try succeeds.
func isIsolated(t *testing.T, container string, port int, hosts []string) bool {
	t.Helper()
	for range 4 {
		if !canConnect(t, container, port, hosts) {
			return true
		}
		t.Logf("a connection to port %d of %s has succeeded; trying again", port, hosts)
	}
	return false
}

// canConnect reports whether a program in a container's network namespace can open a TCP connection to one of the hosts.
func canConnect(t *testing.T, container string, port int, hosts []string) bool {
	t.Helper()
	var script strings.Builder
	for _, host := range hosts {
		fmt.Fprintf(&script, "timeout 1 bash -c '</dev/tcp/%s/%d' 2>/dev/null && echo reached &\n", host, port)
	}
	out := harness.MustDocker(t, "run", "--rm", "--network", "container:"+container, "edge-test/base:test", "bash", "-c", script.String()+"wait")
	return strings.Contains(out, "reached")
}

// containerAddresses returns a container's addresses on all its networks.
func containerAddresses(t *testing.T, container string) (all []string) {
	t.Helper()
	var networks map[string]struct{ IPAddress string }
	if err := json.Unmarshal([]byte(harness.MustDocker(t, "inspect", "--format", "{{json .NetworkSettings.Networks}}", container)), &networks); err != nil {
		t.Fatal(err)
	}
	for _, n := range networks {
		all = append(all, n.IPAddress)
	}
	return all
}

// TestEdgeListensOnItsPortsOnly also checks that the admin API is a unix socket in a directory that only the edge's user can enter.
func TestEdgeListensOnItsPortsOnly(t *testing.T) {
	p := readyStack(t)
	edge := p.container(t, "edge")
	sockets := harness.MustDocker(t, "run", "--rm", "--network", "container:"+edge, "edge-test/base:test", "cat", "/proc/net/tcp", "/proc/net/tcp6")
	ports := make(map[string]bool)
	for line := range strings.Lines(sockets) {
		fields := strings.Fields(line)
		if len(fields) < 4 || fields[3] != "0A" { // LISTEN
			continue
		}
		address, port, _ := strings.Cut(fields[1], ":")
		if address != "0B00007F" { // 127.0.0.11, Docker's DNS
			ports[port] = true
		}
	}
	if len(ports) != 2 || !ports["0050"] || !ports["01BB"] {
		t.Errorf("the edge listens on the ports %v (hexadecimal), want only 80 and 443", ports)
	}
	run := harness.MustDocker(t, "run", "--rm", "--user", "1000:1000", "--cap-drop", "ALL", "--pid", "container:"+edge, "edge-test/base:test", "stat", "--format", "%u %a %F %n",
		"/proc/1/root/run/edge", "/proc/1/root/run/edge/admin.sock")
	if !strings.HasPrefix(run, "1000 700 directory /proc/1/root/run/edge\n1000 ") || !strings.Contains(run, " socket ") {
		t.Errorf("the permissions of the admin API are %s", run)
	}
	kept := harness.MustDocker(t, "run", "--rm", "--user", "1000:1000", "--cap-drop", "ALL", "--pid", "container:"+edge, "edge-test/base:test", "find", "/proc/1/root/config", "/proc/1/root/data", "-name", "autosave.json")
	if kept != "" {
		t.Errorf("the edge saves its configuration in %s", kept)
	}
}

// TestEdgeRunsWithoutPrivileges looks at the kernel's view of the process, not at the compose file.
func TestEdgeRunsWithoutPrivileges(t *testing.T) {
	p := readyStack(t)
	t.Parallel()
	for service, uid := range map[string]string{"gate": "1000", "edge": "1000", "docker-guard": "0"} {
		status := harness.MustDocker(t, "run", "--rm", "--pid", "container:"+p.container(t, service), "edge-test/base:test", "cat", "/proc/1/status")
		fields := make(map[string]string)
		for line := range strings.Lines(status) {
			name, value, _ := strings.Cut(line, ":")
			fields[name] = strings.Join(strings.Fields(value), " ")
		}
		for name, want := range map[string]string{
			"Uid": strings.Join([]string{uid, uid, uid, uid}, " "), "NoNewPrivs": "1", "Seccomp": "2",
			"CapInh": "0000000000000000", "CapPrm": "0000000000000000", "CapEff": "0000000000000000",
			"CapBnd": "0000000000000000", "CapAmb": "0000000000000000",
		} {
			if fields[name] != want {
				t.Errorf("%s: %s is %q, want %q", service, name, fields[name], want)
			}
		}
		if got := harness.MustDocker(t, "inspect", "--format", "{{.HostConfig.ReadonlyRootfs}}", p.container(t, service)); got != "true" {
			t.Errorf("the root filesystem of %s is writable", service)
		}
	}
}
