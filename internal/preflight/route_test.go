package preflight

import (
	"errors"
	"fmt"
	"strings"
	"testing"
)

// newFakeHostWithRoute returns a host whose edge proxies to a service, NAME:PORT.
func newFakeHostWithRoute(t *testing.T, service string) *fakeHost {
	t.Helper()
	w := newFakeHost(t)
	w.adaptedConfig = strings.ReplaceAll(w.adaptedConfig, `"app:3000"`, `"`+service+`"`)
	return w
}

// TestServiceIsFoundByEachOfItsDNSNames has the names that Docker's DNS resolves.
func TestServiceIsFoundByEachOfItsDNSNames(t *testing.T) {
	for _, c := range []struct {
		name, upstream string
		change         func(w *fakeHost)
	}{
		{"a service in upper case", "webapp:3000", func(w *fakeHost) { w.services["WebApp"] = w.services["app"] }},
		{"an upstream in upper case", "APP:3000", func(*fakeHost) {}},
		{"a container in upper case", "cloud:3000", func(w *fakeHost) { w.service("app")["container_name"] = "Cloud" }},
		{"an alias in upper case", "api:3000", func(w *fakeHost) {
			w.service("app")["networks"] = jsonObject{"web": jsonObject{"aliases": []string{"Api"}}}
		}},
		{"a link of the edge", "backend:3000", func(w *fakeHost) { w.service("edge")["links"] = []string{"app:backend"} }},
		{"a hostname, from Engine 25 on", "backoffice:3000", func(w *fakeHost) {
			w.service("app")["hostname"], w.dockerOutputs["version"] = "backoffice", "25.0.3\n"
		}},
		{"a container by Compose's name", "shop-app-1:3000", func(*fakeHost) {}},
		{"a name on a network", "app.shop_web:3000", func(*fakeHost) {}},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := newFakeHostWithRoute(t, c.upstream)
			c.change(w)
			expectFinding(t, w.newCheck(t).Run(t.Context()), "route", OK, c.upstream+": ", "")
			expectNoProblems(t, w.newCheck(t).Run(t.Context()))
		})
	}
}

// TestHostThatOnlyDockerDesktopResolves: elsewhere, a route to it gets 503 for ever.
func TestHostThatOnlyDockerDesktopResolves(t *testing.T) {
	w := newFakeHostWithRoute(t, "host.docker.internal:8096")
	expectFinding(t, w.newCheck(t).Run(t.Context()), "route", Warning, "only Docker Desktop resolves host.docker.internal", `add to the service edge: extra_hosts: ["host.docker.internal:host-gateway"]`)
	w.service("edge")["extra_hosts"] = []string{"host.docker.internal=host-gateway"}
	expectFinding(t, w.newCheck(t).Run(t.Context()), "route", OK, "host.docker.internal:8096 is an address", "")
}

func TestEngine24DoesNotResolveHostnames(t *testing.T) {
	w := newFakeHostWithRoute(t, "backoffice:3000")
	w.service("app")["hostname"], w.dockerOutputs["version"] = "backoffice", "24.0.9\n"
	expectFinding(t, w.newCheck(t).Run(t.Context()), "route", Error, "the compose file has no service backoffice", "correct the name")
}

func TestPortThatIsNotExposedIsAtMostANote(t *testing.T) {
	for _, c := range []struct {
		name   string
		change func(w *fakeHost)
		level  Level
		want   string
	}{
		{"expose has another port", func(w *fakeHost) { w.service("app")["expose"] = []string{"9000"} }, Note, "app exposes 9000, and not 3000; expose enforces nothing"},
		{"the image has it, too", func(w *fakeHost) {
			w.service("app")["expose"] = []string{"9000"}
			w.dockerOutputs["image inspect"] = `{"3000/tcp": {}}`
		}, OK, "app exposes it"},
		{"an image that Compose builds and names", func(w *fakeHost) {
			w.service("app")["expose"], w.service("app")["image"], w.service("app")["build"] = nil, nil, jsonObject{"context": "."}
			w.dockerOutputs["image inspect --format {{json .Config.ExposedPorts}} shop-app"] = `{"3000/tcp": {}}`
		}, OK, "app exposes it"},
		{"an image that is not on this machine", func(w *fakeHost) {
			w.service("app")["expose"] = nil
			w.dockerErrors["image inspect"] = errors.New("no such image")
		}, Note, "nor an image on this machine says which ports app listens on"},
		{"a variable says it", func(w *fakeHost) {
			w.service("app")["expose"], w.service("app")["environment"] = []string{"9000"}, jsonObject{"API_PORT": "3000"}
		}, OK, "app has the port in its environment"},
		{"the command has it", func(w *fakeHost) {
			w.service("app")["expose"], w.service("app")["command"] = nil, []string{"serve", "--listen=:3000"}
		}, OK, "app has the port in its environment, command"},
		{"the health check has it", func(w *fakeHost) {
			w.service("app")["expose"], w.service("app")["healthcheck"] = nil, jsonObject{"test": []string{"CMD", "curl", "http://localhost:3000/"}}
		}, OK, "app has the port in its environment, command or health check"},
		{"another variable has the number", func(w *fakeHost) {
			w.service("app")["expose"], w.service("app")["environment"] = []string{"9000"}, jsonObject{"API_URL": "http://other:3000", "PORT": "13000"}
		}, Note, "app exposes 9000, and not 3000"},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := newFakeHost(t)
			c.change(w)
			all := w.newCheck(t).Run(t.Context())
			expectFinding(t, all, "route", c.level, c.want, "")
			expectNoProblems(t, all)
		})
	}
}

func TestNetworkModeServiceRoutesToTheNetworkOwner(t *testing.T) {
	w := newFakeHost(t)
	w.services["vpn"] = jsonObject{"image": "example/vpn:1", "networks": jsonObject{"web": nil}}
	w.service("app")["network_mode"], w.service("app")["networks"] = "service:vpn", nil
	expectFinding(t, w.newCheck(t).Run(t.Context()), "route", Error, "app has network_mode service:vpn, and so no address of its own", "vpn:3000")

	w = newFakeHost(t)
	w.services["vpn"] = jsonObject{"image": "example/vpn:1", "networks": jsonObject{"web": nil, "guard": nil}, "ports": []jsonObject{publishedPort("", "443", 443, "tcp")}}
	w.service("edge")["network_mode"], w.service("edge")["networks"], w.service("edge")["ports"] = "service:vpn", nil, nil
	all := w.newCheck(t).Run(t.Context())
	expectFinding(t, all, "route", OK, "app exposes it on web", "")
	expectFinding(t, all, "port", OK, "TCP port 443 is free", "")
}

func TestAddressesAreNotLookedUpInTheComposeFile(t *testing.T) {
	for _, upstream := range []string{"10.18.0.3:8096", "localhost:8080", "app.example.com:8080", "[2001:db8::1]:80"} {
		expectNoProblems(t, newFakeHostWithRoute(t, upstream).newCheck(t).Run(t.Context()))
	}
}

func TestExposedPortRangesAreExpanded(t *testing.T) {
	for text, want := range map[string]string{"3000": "[3000]", "3000/tcp": "[3000]", "53/udp": "[]", "80-82": "[80 81 82]", "a-b": "[a-b]"} {
		if got := fmt.Sprint(expandPorts(text)); got != want {
			t.Errorf("%s: got %s, want %s", text, got, want)
		}
	}
}
