package preflight

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

func TestHealthyStackHasNoFindings(t *testing.T) {
	w := newFakeHost(t)
	for _, f := range w.newCheck(t).Run(t.Context()) {
		if f.Level != OK {
			t.Errorf("%+v", f)
		}
	}
}

// TestEachProblemIsFound breaks one part of the stack at a time. tests/testdata/check has the cases that need Compose.
func TestEachProblemIsFound(t *testing.T) {
	syntax := errors.New("docker compose config: exit status 1: time=x level=warning\nservices.edge.ports must be a list")
	for _, c := range []struct {
		name        string
		breakPart   func(w *fakeHost, c *Check)
		kind        string
		level       Level
		want, hints string
	}{
		{"no docker", func(w *fakeHost, _ *Check) { w.composeErr = fmt.Errorf("docker: %w", exec.ErrNotFound) }, "compose file", Error, "no docker command", "install Docker"},
		{"no plugin", func(w *fakeHost, _ *Check) {
			w.composeErr = errors.New("docker: 'compose' is not a docker command.\nSee 'docker --help'")
		}, "compose file", Error, "no docker compose", "plugin"},
		{"an invalid compose file", func(w *fakeHost, _ *Check) { w.composeErr = syntax }, "compose file", Error, "services.edge.ports must be a list", "--file"},
		{"no edge", func(_ *fakeHost, c *Check) { c.Edge = "proxy" }, "compose file", Error, `no service "proxy"`, "there are: app, docker-guard, edge"},
		{"a short secret", func(w *fakeHost, _ *Check) { w.service("app")["environment"] = jsonObject{"API_TOKEN": "abc"} }, "secret", Warning, "app: API_TOKEN is too short and can be guessed (characters: 3)", "openssl"},
		{"a password in an address", func(w *fakeHost, _ *Check) {
			w.service("app")["environment"] = jsonObject{"DSN": "postgres://u:changeme@db/x"}
		}, "secret", Error, `app: DSN is "changeme"`, "openssl"},
		{"a secret with an insecure default", func(w *fakeHost, _ *Check) {
			w.service("app")["image"] = "registry.example:5000/bigcapitalhq/server:V0.24.7"
		}, "secret", Error, "app: APP_JWT_SECRET is not set", "openssl"},
		{"a secret of an old version", func(w *fakeHost, _ *Check) { w.service("app")["image"] = "bigcapitalhq/server:v0.22.0" }, "secret", Error, "app: JWT_SECRET is not set", "openssl"},
		{"an old version's other secret", func(w *fakeHost, _ *Check) {
			w.service("app")["image"], w.service("app")["environment"] = "bigcapitalhq/server:v0.22.0", jsonObject{"JWT_SECRET": "0123456789abcdef"}
		}, "secret", OK, "all are set", ""},
		{"a password by another name", func(w *fakeHost, _ *Check) { w.service("app")["environment"] = jsonObject{"SMTP_PASS": "changeme"} }, "secret", Error, `app: SMTP_PASS is "changeme"`, "openssl"},
		{"a variable that is no secret", func(w *fakeHost, _ *Check) { w.service("app")["environment"] = jsonObject{"CACHE_KEY": "default"} }, "secret", OK, "all are set", ""},
		{"a file that the edge can't read", func(w *fakeHost, c *Check) {
			_ = os.Chmod(w.configFile(), 0o600)
		}, "file", Error, "edge runs as user 1000:1000 and can't read", "chmod a+r"},
		{"a directory instead of a file", func(w *fakeHost, _ *Check) {
			dir := filepath.Dir(w.configFile())
			w.service("edge")["volumes"] = []jsonObject{{"type": "bind", "source": dir, "target": "/etc/edge/root.pem"}}
		}, "file", Error, "is mounted as the file /etc/edge/root.pem", "Docker creates a directory"},
		{"a directory that Docker creates", func(w *fakeHost, _ *Check) {
			w.service("app")["volumes"] = []jsonObject{{"type": "bind", "source": "/nowhere/mysql", "target": "/var/lib/mysql", "bind": jsonObject{"create_host_path": true}}}
		}, "file", Warning, "Docker will create an empty directory", "create it"},
		{"a file instead of which Docker creates a directory", func(w *fakeHost, _ *Check) {
			w.service("edge")["volumes"] = []jsonObject{{"type": "bind", "source": "/nowhere/Caddyfile", "target": "/etc/edge/Caddyfile", "bind": jsonObject{"create_host_path": true}}}
		}, "file", Error, "/nowhere/Caddyfile does not exist", "create it"},
		{"a directory with a dot", func(w *fakeHost, _ *Check) {
			w.service("app")["volumes"] = []jsonObject{{"type": "bind", "source": filepath.Dir(w.configFile()), "target": "/etc/nginx/conf.d"}}
		}, "file", OK, "all bind mounts exist", ""},
		{"a user whose group only the image knows", func(w *fakeHost, _ *Check) {
			_ = os.Chmod(w.configFile(), 0o640)
			w.service("edge")["user"] = "1000"
		}, "file", Warning, "can't read", "chmod a+r"},
		{"a configuration that is a config", func(w *fakeHost, c *Check) {
			w.service("edge")["volumes"] = nil
			w.service("edge")["configs"] = []jsonObject{{"source": "caddy", "target": "/etc/edge/Caddyfile"}}
			w.configs = jsonObject{"caddy": jsonObject{"file": w.configFile()}}
		}, "configuration", OK, "is valid", ""},
		{"a file that only the container has", func(w *fakeHost, c *Check) {
			c.Validate = func(context.Context, []byte, []string) error {
				return errors.New("open /data/own.pem: no such file or directory")
			}
		}, "configuration", Warning, "but /data is in the container", "docker compose run"},
		{"a configuration in the image", func(w *fakeHost, _ *Check) { w.service("edge")["volumes"] = nil }, "configuration", Warning, "is in its image", "--config"},
		{"an upstream without a port", func(w *fakeHost, _ *Check) {
			w.adaptedConfig = strings.Replace(w.adaptedConfig, `"app:3000"},`, `"app"},`, 1)
		}, "route", Error, "app: address app: missing port", "bigcapital-server:3000"},
		{"an upstream of Caddy's own", func(w *fakeHost, _ *Check) {
			w.adaptedConfig = `{"apps": {"http": [{"handler": "reverse_proxy", "upstreams": [{"dial": "10.0.0.1:80"}, {"dial": "localhost:80"}, {"dial": "a.example.com:80"}, {"dial": "nobody:80"}]}]}}`
		}, "route", Error, "no service nobody", "there are"},
		{"docker_dns", func(w *fakeHost, _ *Check) {
			w.adaptedConfig = `{"apps": {"http": [{"handler": "reverse_proxy", "dynamic_upstreams": {"source": "docker_dns", "service": "nobody:80"}}]}}`
		}, "route", Error, "no service nobody", "there are"},
		{"network_mode", func(w *fakeHost, _ *Check) { w.service("app")["network_mode"] = "host" }, "route", Error, "app has network_mode host", "networks: [guard, web]"},
		{"a port of the image alone", func(w *fakeHost, _ *Check) {
			w.service("app")["expose"] = nil
			w.dockerOutputs["image inspect"] = `{"8080/tcp": {}, "53/udp": {}}`
		}, "route", Warning, "app is known to listen on 8080, and not on 3000", "expose: [\"3000\"]"},
		{"another port is published, and the image exposes the right one", func(w *fakeHost, _ *Check) {
			w.service("app")["expose"] = nil
			w.service("app")["ports"] = []jsonObject{{"target": 9229, "published": "9229", "host_ip": "127.0.0.1"}}
			w.dockerOutputs["image inspect"] = `{"3000/tcp": {}}`
		}, "route", OK, "app exposes it", ""},
		{"a service of another compose file", func(w *fakeHost, _ *Check) {
			w.adaptedConfig = strings.ReplaceAll(w.adaptedConfig, "app:3000", "other:80")
			w.networks["web"] = jsonObject{"name": "shared", "external": true}
		}, "route", Warning, "other is not in this compose file, and is not checked", "name the directory of its project (--with DIR)"},
		{"an unknown port", func(w *fakeHost, _ *Check) { w.service("app")["expose"] = []string{"53/udp"} }, "route", Note, "which ports app listens on", `expose: ["3000"]`},
		{"DNS to another machine", func(w *fakeHost, _ *Check) { w.dnsRecords["shop.example.com"] = []string{"198.51.100.1"} }, "domain", Warning, "resolves to 198.51.100.1, and this machine is 203.0.113.7", "CDN"},
		{"DNS to two machines", func(w *fakeHost, _ *Check) { w.dnsRecords["shop.example.com"] = []string{"203.0.113.7", "2001:db8::1"} }, "domain", Warning, "of which 2001:db8::1 is not this machine", "AAAA"},
		{"DNS to a private address", func(w *fakeHost, _ *Check) { w.dnsRecords["shop.example.com"] = []string{"10.0.0.7", "100.64.1.1"} }, "domain", Warning, "which a public certificate authority can't reach", "A record"},
		{"DNS that fails", func(w *fakeHost, _ *Check) { w.dnsErr = errors.New("server misbehaving") }, "domain", Warning, "can't be looked up from here: server misbehaving", "--offline"},
		{"a machine behind NAT", func(w *fakeHost, _ *Check) { w.localAddresses = []string{"192.168.1.2"} }, "domain", OK, "this machine has no public address to compare it with", ""},
		{"a wildcard", func(w *fakeHost, _ *Check) {
			w.adaptedConfig = strings.Replace(w.adaptedConfig, "Shop.Example.com", "*.example.com", 1)
		}, "domain", OK, "is a wildcard, and is not looked up", ""},
		{"a name in a not matcher", func(w *fakeHost, _ *Check) {
			w.adaptedConfig = strings.Replace(w.adaptedConfig, `[{"host": ["Shop.Example.com"]}]`, `[{"host": ["Shop.Example.com"], "not": [{"host": ["nowhere.example.com"]}]}]`, 1)
		}, "domain", OK, "shop.example.com resolves", ""},
		{"a name of the internal authority", func(w *fakeHost, c *Check) {
			w.dnsRecords = nil
			w.adaptedConfig = strings.Replace(w.adaptedConfig, `"policies": [`, `"policies": [{"subjects": ["shop.example.com"], "issuers": [{"module": "internal"}]}, `, 1)
		}, "domain", OK, "needs no public DNS", ""},
		{"a name that may have a certificate from a file", func(w *fakeHost, c *Check) {
			w.dnsRecords = nil
			w.adaptedConfig = strings.Replace(w.adaptedConfig, `"tls": {`, `"tls": {"certificates": {"load_files": []}, `, 1)
		}, "domain", Warning, "does not resolve", "A record"},
		{"the port of another container", func(w *fakeHost, _ *Check) {
			w.dockerOutputs["ps --filter publish=443/tcp"] = "nginx-1 web/nginx\n"
		}, "port", Error, "is taken by the container nginx-1", "docker stop nginx-1"},
		{"the port of the edge itself", func(w *fakeHost, _ *Check) {
			w.listenErrors[":443"] = syscall.EADDRINUSE
			w.dockerOutputs["ps --filter publish=443/tcp"] = "shop-edge-1 shop/edge\n"
		}, "port", OK, "is published by shop-edge-1", ""},
		{"a port that needs root", func(w *fakeHost, _ *Check) { w.listenErrors[":443"] = syscall.EACCES }, "port", Warning, "TCP port 443 could not be tested", "root"},
		{"no ports", func(w *fakeHost, _ *Check) { w.service("edge")["ports"] = nil }, "port", Warning, "edge publishes no port", "443:443"},
		{"a volume that is missing beside others", func(w *fakeHost, _ *Check) {
			w.volumes["db"] = jsonObject{"name": "shop_db"}
			w.service("app")["volumes"] = []jsonObject{{"type": "volume", "source": "db", "target": "/db"}}
		}, "volume", Warning, "shop_db does not exist, while other volumes of the project do", "restore it"},
		{"an Engine that does not list volumes", func(w *fakeHost, _ *Check) { w.dockerErrors["volume ls"] = errors.New("permission denied") }, "volume", Warning, "can't be listed", "docker volume ls"},
		{"another service with Docker's socket", func(w *fakeHost, _ *Check) {
			w.service("app")["volumes"] = []jsonObject{{"type": "bind", "source": w.configFile(), "target": "/run/docker.sock"}}
		}, "guard", Warning, "app has Docker's socket", "as good as root"},
		{"a guard on a network that is not internal", func(w *fakeHost, _ *Check) { w.networks["guard"] = jsonObject{} }, "guard", Warning, "the network guard of docker-guard is not internal", "internal: true"},
		{"a guard that the edge does not reach", func(w *fakeHost, _ *Check) { w.service("docker-guard")["networks"] = jsonObject{"web2": nil} }, "guard", Error, "have no network in common", "internal"},
		{"a guard of a profile", func(w *fakeHost, _ *Check) { w.service("docker-guard")["profiles"] = []string{"x"} }, "guard", Error, "of a profile that is not in use", "--profile x"},
		{"an Engine on another machine", func(w *fakeHost, _ *Check) {
			w.adaptedConfig = strings.Replace(w.adaptedConfig, "tcp://docker-guard:2375", "tcp://192.0.2.5:2375", 1)
			w.service("docker-guard")["volumes"] = nil
		}, "guard", OK, "only edge reaches tcp://192.0.2.5:2375", ""},
		{"no guard at all", func(w *fakeHost, _ *Check) {
			w.adaptedConfig = strings.Replace(w.adaptedConfig, "tcp://docker-guard:2375", "", 1)
		}, "guard", Warning, "docker-guard has Docker's socket", "root"},
		{"an edge that does not run", func(w *fakeHost, _ *Check) { w.dockerOutputs["compose ps"] = "\n" }, "edge", Warning, "it does not run", "when the stack is up"},
		{"an edge of an older version", func(w *fakeHost, _ *Check) { w.dockerErrors["compose exec"] = errors.New("unknown command") }, "edge", Warning, "the running edge cannot check", "older version"},
		{"a clock before this program", func(w *fakeHost, _ *Check) { w.now = time.Unix(0, 0) }, "clock", Error, "it says 1970-01-01T00:00:00Z, which is before", "timedatectl"},
		{"a clock that differs by hours", func(w *fakeHost, _ *Check) { w.authorityTime = w.now.Add(3 * time.Hour) }, "clock", Error, "it says 2026-11-01T01:00:00Z, and the clock of http://ca.example/dir says 2026-11-01T04:00:00Z", "timedatectl"},
		{"a clock that differs by minutes", func(w *fakeHost, _ *Check) { w.authorityTime = w.now.Add(-3 * time.Minute) }, "clock", Warning, "it differs by 3m0s", "timedatectl"},
		{"an unreachable authority", func(w *fakeHost, _ *Check) { w.authorityTime = time.Time{} }, "clock", Warning, "no route to host", "--offline"},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := newFakeHost(t)
			check := w.newCheck(t)
			c.breakPart(w, check)
			expectFinding(t, check.Run(t.Context()), c.kind, c.level, c.want, c.hints)
		})
	}
}

// expectFinding fails the test unless a finding has the check, the level, and parts of its message and hint.
func expectFinding(t *testing.T, all []Finding, check string, level Level, message, hint string) {
	t.Helper()
	for _, f := range all {
		if f.Check == check && f.Level == level && strings.Contains(f.Message, message) && strings.Contains(f.Hint, hint) {
			return
		}
	}
	t.Errorf("want %s %s: %s; hint: %s; got:", level, check, message, hint)
	for _, f := range all {
		t.Logf("%+v", f)
	}
}

// expectNoProblems fails the test if a finding is a warning or an error.
func expectNoProblems(t *testing.T, all []Finding) {
	t.Helper()
	for _, f := range all {
		if f.Level == Warning || f.Level == Error {
			t.Errorf("unexpected finding: %+v", f)
		}
	}
}

// configFile returns the path of the edge's configuration on this machine.
func (w *fakeHost) configFile() string {
	return w.service("docker-guard")["volumes"].([]jsonObject)[0]["source"].(string)
}

func TestOfflineAsksOnlyThisMachine(t *testing.T) {
	w := newFakeHost(t)
	w.authorityTime = time.Time{}
	w.dnsErr = errors.New("unexpected lookup")
	w.dockerErrors["version"] = errors.New("no Engine")
	c := w.newCheck(t)
	c.Offline = true
	all := c.Run(t.Context())
	for _, f := range all {
		if f.Level != OK && f.Check != "engine" || f.Check == "domain" {
			t.Errorf("%+v", f)
		}
	}
	for _, line := range w.commands {
		if !strings.HasPrefix(line, "compose") && line != "version --format {{.Server.Version}}" {
			t.Errorf("docker %s", line)
		}
	}
}
