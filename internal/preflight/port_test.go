package preflight

import (
	"strings"
	"syscall"
	"testing"
)

// publishedPort returns an entry of a service's ports as Compose prints it.
func publishedPort(address, number string, target int, protocol string) jsonObject {
	return jsonObject{"mode": "ingress", "host_ip": address, "published": number, "target": target, "protocol": protocol}
}

func TestHostPortConflictsAreErrors(t *testing.T) {
	for _, c := range []struct {
		name       string
		change     func(edge, app jsonObject)
		want, hint string
	}{
		{"two services", func(_, app jsonObject) { app["ports"] = []jsonObject{publishedPort("", "443", 80, "tcp")} }, "app and edge both publish port 443", "take it out of ports of app"},
		{"all addresses and one of them", func(_, app jsonObject) { app["ports"] = []jsonObject{publishedPort("127.0.0.1", "443", 80, "tcp")} }, "both publish port", "take it out of ports of app"},
		{"all addresses of IPv4 and one of them", func(edge, app jsonObject) {
			edge["ports"] = []jsonObject{publishedPort("0.0.0.0", "443", 443, "tcp")}
			app["ports"] = []jsonObject{publishedPort("192.0.2.1", "443", 80, "tcp")}
		}, "both publish port", "take it out of ports of app"},
		{"one service twice", func(edge, _ jsonObject) {
			edge["ports"] = []jsonObject{publishedPort("", "443", 443, "tcp"), publishedPort("127.0.0.1", "443", 443, "tcp")}
		}, "edge publishes port 127.0.0.1:443 twice", "!override"},
		{"replicas", func(_, app jsonObject) {
			app["ports"], app["deploy"] = []jsonObject{publishedPort("", "8080", 80, "tcp")}, jsonObject{"replicas": 3}
		}, "app has 3 replicas and publishes port 8080: only 1 can start", "a range"},
		{"more replicas than a range has ports", func(_, app jsonObject) {
			app["ports"], app["scale"] = []jsonObject{publishedPort("", "8080-8081", 80, "tcp")}, 3
		}, "only 2 can start", "a range"},
		{"a range of which every port is taken", func(edge, app jsonObject) {
			edge["ports"] = []jsonObject{publishedPort("", "8080", 80, "tcp"), publishedPort("", "8081", 443, "tcp")}
			app["ports"] = []jsonObject{publishedPort("", "8080-8081", 80, "tcp")}
		}, "and edge takes all of them: app cannot start", "other ports"},
		{"an edge on the host's network", func(edge, app jsonObject) {
			edge["network_mode"], edge["ports"] = "host", nil
			app["ports"] = []jsonObject{publishedPort("", "80", 80, "tcp")}
		}, "app and edge both publish port 80", "take it out of ports of app"},
		{"an edge on the host's network, an address of IPv6", func(edge, app jsonObject) {
			edge["network_mode"], edge["ports"] = "host", nil
			app["ports"] = []jsonObject{publishedPort("::1", "8443", 443, "tcp")}
		}, "app and edge both publish port [::1]:8443", "take it out of ports of app"},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := newFakeHost(t)
			w.adaptedConfig = strings.Replace(w.adaptedConfig, `"s": {`, `"s": {"listen": ["edge/:80", "edge/[::1]:8443"], `, 1)
			c.change(w.service("edge"), w.service("app"))
			all := w.newCheck(t).Run(t.Context())
			expectFinding(t, all, "port", Error, c.want, c.hint)
			for _, f := range all {
				if strings.Contains(f.Message, "is free") && strings.Contains(c.want, "443") {
					t.Errorf("a port that two containers take is reported as free: %+v", f)
				}
			}
		})
	}
}

func TestPortsThatDoNotConflictAreAccepted(t *testing.T) {
	for name, change := range map[string]func(w *fakeHost){
		"TCP and UDP": func(w *fakeHost) {
			w.service("edge")["ports"] = []jsonObject{publishedPort("", "443", 443, "tcp"), publishedPort("", "443", 443, "udp")}
		},
		"two addresses": func(w *fakeHost) {
			w.service("edge")["ports"] = []jsonObject{publishedPort("192.0.2.1", "443", 443, "tcp"), publishedPort("192.0.2.2", "443", 443, "tcp")}
		},
		"all addresses of IPv4, and of IPv6": func(w *fakeHost) {
			w.service("edge")["ports"] = []jsonObject{publishedPort("0.0.0.0", "443", 443, "tcp"), publishedPort("::", "443", 443, "tcp")}
		},
		"a service of a profile that is not in use": func(w *fakeHost) {
			w.service("app")["networks"] = jsonObject{"web": nil}
			w.services["old-proxy"] = jsonObject{"image": "nginx:1.27", "profiles": []string{"old"}, "ports": []jsonObject{publishedPort("", "443", 443, "tcp")}}
		},
		"a service without containers": func(w *fakeHost) {
			w.service("app")["ports"], w.service("app")["deploy"] = []jsonObject{publishedPort("", "443", 443, "tcp")}, jsonObject{"replicas": 0}
		},
		"a range of which one port is taken": func(w *fakeHost) {
			w.service("edge")["ports"] = []jsonObject{publishedPort("", "8080", 443, "tcp")}
			w.service("app")["ports"] = []jsonObject{publishedPort("127.0.0.1", "8080-8081", 80, "tcp")}
		},
		"replicas and a range": func(w *fakeHost) {
			w.service("app")["ports"], w.service("app")["scale"] = []jsonObject{publishedPort("127.0.0.1", "8080-8082", 80, "tcp")}, 3
		},
		"a port of loopback": func(w *fakeHost) {
			w.service("app")["ports"] = []jsonObject{publishedPort("127.0.0.2", "9229", 9229, "tcp")}
		},
		"a call server": func(w *fakeHost) {
			w.service("app")["ports"] = []jsonObject{publishedPort("", "7881", 7881, "tcp"), publishedPort("", "10000", 10000, "udp"), publishedPort("", "50000-50100", 50000, "udp")}
		},
		"a mail server": func(w *fakeHost) {
			w.service("app")["ports"] = []jsonObject{publishedPort("", "25", 25, "tcp"), publishedPort("", "993", 993, "tcp")}
		},
		"a Git server's SSH": func(w *fakeHost) { w.service("app")["ports"] = []jsonObject{publishedPort("", "2222", 22, "tcp")} },
	} {
		t.Run(name, func(t *testing.T) {
			w := newFakeHost(t)
			change(w)
			expectNoProblems(t, w.newCheck(t).Run(t.Context()))
		})
	}
}

func TestBypassWarningNamesThePort(t *testing.T) {
	for _, c := range []struct {
		port jsonObject
		want string
	}{
		{publishedPort("", "", 8000, "tcp"), "app publishes port 8000 (on a host port that Docker chooses): clients can bypass the edge"},
		{publishedPort("", "0", 8000, ""), "app publishes port 8000 (on a host port that Docker chooses): clients can bypass the edge"},
		{publishedPort("", "9000-9005", 90, "tcp"), "app publishes port 90 (on one of the host ports 9000-9005): clients can bypass the edge"},
		{publishedPort("192.0.2.1", "8000", 80, "tcp"), "app publishes port 192.0.2.1:8000: clients can bypass the edge"},
	} {
		w := newFakeHost(t)
		w.service("app")["ports"] = []jsonObject{c.port}
		expectFinding(t, w.newCheck(t).Run(t.Context()), "port", Warning, c.want, "take it out")
	}
}

func TestPublishedDatabasePortIsReported(t *testing.T) {
	w := newFakeHost(t)
	w.service("app")["ports"] = []jsonObject{publishedPort("", "15432", 5432, "tcp")}
	expectFinding(t, w.newCheck(t).Run(t.Context()), "port", Warning, "app publishes port 15432 (PostgreSQL) on all networks", "127.0.0.1 alone")
}

func TestTakenPortOfAnyServiceIsReported(t *testing.T) {
	w := newFakeHost(t)
	w.service("app")["ports"] = []jsonObject{publishedPort("", "5432", 5432, "tcp")}
	w.listenErrors[":5432"] = syscall.EADDRINUSE
	expectFinding(t, w.newCheck(t).Run(t.Context()), "port", Error, "TCP port 5432 is taken by another program", "ss -lnp")
	w.dockerOutputs["ps --filter publish=5432/tcp"] = "shop-app-1 shop/app\n"
	for _, f := range w.newCheck(t).Run(t.Context()) {
		if f.Level == Error {
			t.Errorf("the service itself publishes the port: got %+v", f)
		}
	}
}
