package check

import (
	"errors"
	"strings"
	"testing"
)

// routed returns a world whose edge sends requests to a service.
func routed(t *testing.T, service string) *world {
	t.Helper()
	w := newWorld(t)
	w.adapted = strings.ReplaceAll(w.adapted, `"app:3000"`, `"`+service+`"`)
	return w
}

// TestAServiceIsFoundByEachOfItsNames has the names that Docker's DNS answers to.
func TestAServiceIsFoundByEachOfItsNames(t *testing.T) {
	for _, c := range []struct {
		name, upstream string
		change         func(w *world)
	}{
		{"a service in upper case", "webapp:3000", func(w *world) { w.services["WebApp"] = w.services["app"] }},
		{"an upstream in upper case", "APP:3000", func(*world) {}},
		{"a container in upper case", "cloud:3000", func(w *world) { w.service("app")["container_name"] = "Cloud" }},
		{"an alias in upper case", "api:3000", func(w *world) { w.service("app")["networks"] = dict{"web": dict{"aliases": []string{"Api"}}} }},
		{"a link of the edge", "backend:3000", func(w *world) { w.service("edge")["links"] = []string{"app:backend"} }},
		{"a hostname, from Engine 25 on", "backoffice:3000", func(w *world) {
			w.service("app")["hostname"], w.answers["version"] = "backoffice", "25.0.3\n"
		}},
		{"a container by Compose's name", "shop-app-1:3000", func(*world) {}},
		{"a name on a network", "app.shop_web:3000", func(*world) {}},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := routed(t, c.upstream)
			c.change(w)
			expect(t, w.check(t).Run(t.Context()), "route", OK, c.upstream+": ", "")
			accept(t, w.check(t).Run(t.Context()))
		})
	}
}

func TestAnOldEngineKnowsNoHostnames(t *testing.T) {
	w := routed(t, "backoffice:3000")
	w.service("app")["hostname"], w.answers["version"] = "backoffice", "24.0.9\n"
	expect(t, w.check(t).Run(t.Context()), "route", Error, "the compose file has no service backoffice", "correct the name")
}

func TestAPortThatIsNotExposedIsAtMostANote(t *testing.T) {
	for _, c := range []struct {
		name   string
		change func(w *world)
		level  Level
		want   string
	}{
		{"expose has another port", func(w *world) { w.service("app")["expose"] = []string{"9000"} }, Note, "app exposes 9000, and not 3000; expose enforces nothing"},
		{"the image has it, too", func(w *world) {
			w.service("app")["expose"] = []string{"9000"}
			w.answers["image inspect"] = `{"3000/tcp": {}}`
		}, OK, "app exposes it"},
		{"an image that Compose builds and names", func(w *world) {
			w.service("app")["expose"], w.service("app")["image"], w.service("app")["build"] = nil, nil, dict{"context": "."}
			w.answers["image inspect --format {{json .Config.ExposedPorts}} shop-app"] = `{"3000/tcp": {}}`
		}, OK, "app exposes it"},
		{"an image that is not on this machine", func(w *world) {
			w.service("app")["expose"] = nil
			w.fails["image inspect"] = errors.New("no such image")
		}, Note, "nor an image on this machine says which ports app listens on"},
		{"a variable says it", func(w *world) {
			w.service("app")["expose"], w.service("app")["environment"] = []string{"9000"}, dict{"API_PORT": "3000"}
		}, OK, "app has the port in its environment"},
		{"the command says it", func(w *world) {
			w.service("app")["expose"], w.service("app")["command"] = nil, []string{"serve", "--listen=:3000"}
		}, OK, "app has the port in its environment, command"},
		{"the health check says it", func(w *world) {
			w.service("app")["expose"], w.service("app")["healthcheck"] = nil, dict{"test": []string{"CMD", "curl", "http://localhost:3000/"}}
		}, OK, "app has the port in its environment, command or health check"},
		{"another variable has the number", func(w *world) {
			w.service("app")["expose"], w.service("app")["environment"] = []string{"9000"}, dict{"API_URL": "http://other:3000", "PORT": "13000"}
		}, Note, "app exposes 9000, and not 3000"},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := newWorld(t)
			c.change(w)
			all := w.check(t).Run(t.Context())
			expect(t, all, "route", c.level, c.want, "")
			accept(t, all)
		})
	}
}

func TestAServiceThatSharesANetworkIsReachedByTheOther(t *testing.T) {
	w := newWorld(t)
	w.services["vpn"] = dict{"image": "example/vpn:1", "networks": dict{"web": nil}}
	w.service("app")["network_mode"], w.service("app")["networks"] = "service:vpn", nil
	expect(t, w.check(t).Run(t.Context()), "route", Error, "app has network_mode service:vpn, and so no address of its own", "vpn:3000")

	w = newWorld(t)
	w.services["vpn"] = dict{"image": "example/vpn:1", "networks": dict{"web": nil, "guard": nil}, "ports": []dict{published("", "443", 443, "tcp")}}
	w.service("edge")["network_mode"], w.service("edge")["networks"], w.service("edge")["ports"] = "service:vpn", nil, nil
	all := w.check(t).Run(t.Context())
	expect(t, all, "route", OK, "app exposes it on web", "")
	expect(t, all, "port", OK, "TCP port 443 is free", "")
}

func TestAnAddressIsNoServiceOfTheComposeFile(t *testing.T) {
	for _, upstream := range []string{"10.18.0.3:8096", "localhost:8080", "host.docker.internal:8080", "[2001:db8::1]:80"} {
		accept(t, routed(t, upstream).check(t).Run(t.Context()))
	}
}

func TestAnImageThatIsNotPulledNeedsNoVersion(t *testing.T) {
	for name, change := range map[string]func(w *world){
		"this project's":  func(w *world) { w.service("app")["image"] = "edge:dev" },
		"never pulled":    func(w *world) { w.service("app")["image"], w.service("app")["pull_policy"] = "app", "never" },
		"built elsewhere": func(w *world) { w.service("app")["image"] = "app"; w.answers["image inspect"] = "[]" },
	} {
		w := newWorld(t)
		delete(w.service("edge"), "build")
		change(w)
		for _, f := range w.check(t).Run(t.Context()) {
			if f.Check == "image" && f.Level != OK {
				t.Errorf("%s: %+v", name, f)
			}
		}
	}
	w := newWorld(t)
	w.service("app")["image"] = "example/app"
	w.answers["image inspect"] = `["example/app@sha256:abc"]`
	expect(t, w.check(t).Run(t.Context()), "image", Warning, "app: example/app is another image whenever it is pulled", "example/app:1.2.3")
}
