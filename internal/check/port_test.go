package check

import (
	"strings"
	"syscall"
	"testing"
)

// published returns the ports of a service as Compose prints them: ADDRESS/PORT of the host, or "", and what is behind.
func published(address, number string, target int, protocol string) dict {
	return dict{"mode": "ingress", "host_ip": address, "published": number, "target": target, "protocol": protocol}
}

func TestAPortOfTheHostIsPublishedOnce(t *testing.T) {
	for _, c := range []struct {
		name       string
		change     func(edge, app dict)
		want, hint string
	}{
		{"two services", func(_, app dict) { app["ports"] = []dict{published("", "443", 80, "tcp")} }, "app and edge both publish port 443", "take it out of ports of app"},
		{"all addresses and one of them", func(_, app dict) { app["ports"] = []dict{published("127.0.0.1", "443", 80, "tcp")} }, "both publish port", "take it out of ports of app"},
		{"all addresses of IPv4 and one of them", func(edge, app dict) {
			edge["ports"] = []dict{published("0.0.0.0", "443", 443, "tcp")}
			app["ports"] = []dict{published("192.0.2.1", "443", 80, "tcp")}
		}, "both publish port", "take it out of ports of app"},
		{"one service twice", func(edge, _ dict) {
			edge["ports"] = []dict{published("", "443", 443, "tcp"), published("127.0.0.1", "443", 443, "tcp")}
		}, "edge publishes port 127.0.0.1:443 twice", "!override"},
		{"replicas", func(_, app dict) {
			app["ports"], app["deploy"] = []dict{published("", "8080", 80, "tcp")}, dict{"replicas": 3}
		}, "app has 3 replicas and publishes port 8080: only 1 can start", "a range"},
		{"more replicas than a range has ports", func(_, app dict) {
			app["ports"], app["scale"] = []dict{published("", "8080-8081", 80, "tcp")}, 3
		}, "only 2 can start", "a range"},
		{"a range of which every port is taken", func(edge, app dict) {
			edge["ports"] = []dict{published("", "8080", 80, "tcp"), published("", "8081", 443, "tcp")}
			app["ports"] = []dict{published("", "8080-8081", 80, "tcp")}
		}, "and edge takes all of them: it can not start", "other ports"},
		{"an edge on the host's network", func(edge, app dict) {
			edge["network_mode"], edge["ports"] = "host", nil
			app["ports"] = []dict{published("", "80", 80, "tcp")}
		}, "app and edge both publish port 80", "take it out of ports of app"},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := newWorld(t)
			w.adapted = strings.Replace(w.adapted, `"s": {`, `"s": {"listen": [":80"], `, 1)
			c.change(w.service("edge"), w.service("app"))
			all := w.check(t).Run(t.Context())
			expect(t, all, "port", Error, c.want, c.hint)
			for _, f := range all {
				if strings.Contains(f.Message, "is free") && strings.Contains(c.want, "443") {
					t.Errorf("both want it: %+v", f)
				}
			}
		})
	}
}

func TestPortsThatDoNotConflictAreAccepted(t *testing.T) {
	for name, change := range map[string]func(w *world){
		"TCP and UDP": func(w *world) {
			w.service("edge")["ports"] = []dict{published("", "443", 443, "tcp"), published("", "443", 443, "udp")}
		},
		"two addresses": func(w *world) {
			w.service("edge")["ports"] = []dict{published("192.0.2.1", "443", 443, "tcp"), published("192.0.2.2", "443", 443, "tcp")}
		},
		"all addresses of IPv4, and of IPv6": func(w *world) {
			w.service("edge")["ports"] = []dict{published("0.0.0.0", "443", 443, "tcp"), published("::", "443", 443, "tcp")}
		},
		"a service of a profile that is not in use": func(w *world) {
			w.service("app")["networks"] = dict{"web": nil}
			w.services["old-proxy"] = dict{"image": "nginx:1.27", "profiles": []string{"old"}, "ports": []dict{published("", "443", 443, "tcp")}}
		},
		"a service without containers": func(w *world) {
			w.service("app")["ports"], w.service("app")["deploy"] = []dict{published("", "443", 443, "tcp")}, dict{"replicas": 0}
		},
		"a range of which one port is taken": func(w *world) {
			w.service("edge")["ports"] = []dict{published("", "8080", 443, "tcp")}
			w.service("app")["ports"] = []dict{published("127.0.0.1", "8080-8081", 80, "tcp")}
		},
		"replicas and a range": func(w *world) {
			w.service("app")["ports"], w.service("app")["scale"] = []dict{published("127.0.0.1", "8080-8082", 80, "tcp")}, 3
		},
		"a port of loopback": func(w *world) {
			w.service("app")["ports"] = []dict{published("127.0.0.2", "9229", 9229, "tcp")}
		},
		"a call server": func(w *world) {
			w.service("app")["ports"] = []dict{published("", "7881", 7881, "tcp"), published("", "10000", 10000, "udp"), published("", "50000-50100", 50000, "udp")}
		},
		"a mail server": func(w *world) {
			w.service("app")["ports"] = []dict{published("", "25", 25, "tcp"), published("", "993", 993, "tcp")}
		},
		"a Git server's SSH": func(w *world) { w.service("app")["ports"] = []dict{published("", "2222", 22, "tcp")} },
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			change(w)
			accept(t, w.check(t).Run(t.Context()))
		})
	}
}

func TestAPublishedPortIsNamed(t *testing.T) {
	for _, c := range []struct {
		port dict
		want string
	}{
		{published("", "", 8000, "tcp"), "app publishes port 8000, on a port of the host that Docker chooses, itself"},
		{published("", "0", 8000, ""), "app publishes port 8000, on a port of the host that Docker chooses, itself"},
		{published("", "9000-9005", 90, "tcp"), "app publishes port 90, on one of the host's ports 9000-9005, itself"},
		{published("192.0.2.1", "8000", 80, "tcp"), "app publishes port 192.0.2.1:8000 itself"},
	} {
		w := newWorld(t)
		w.service("app")["ports"] = []dict{c.port}
		expect(t, w.check(t).Run(t.Context()), "port", Warning, c.want, "take it out")
	}
}

func TestAPublishedDatabaseIsFound(t *testing.T) {
	w := newWorld(t)
	w.service("app")["ports"] = []dict{published("", "15432", 5432, "tcp")}
	expect(t, w.check(t).Run(t.Context()), "port", Warning, "app publishes port 15432, that of PostgreSQL, to every network", "127.0.0.1 alone")
}

func TestAPortOfAnotherServiceThatIsTakenIsFound(t *testing.T) {
	w := newWorld(t)
	w.service("app")["ports"] = []dict{published("", "5432", 5432, "tcp")}
	w.ports[":5432"] = syscall.EADDRINUSE
	expect(t, w.check(t).Run(t.Context()), "port", Error, "TCP port 5432 is taken by another program", "ss -lnp")
	w.answers["ps --filter publish=5432/tcp"] = "shop-app-1 shop/app\n"
	for _, f := range w.check(t).Run(t.Context()) {
		if f.Level == Error {
			t.Errorf("it is the service's own: %+v", f)
		}
	}
}
