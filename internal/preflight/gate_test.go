package preflight

import (
	"strings"
	"testing"
)

// withGate moves the ports of the edge to a gate.
func withGate(w *fakeHost) {
	edge := w.service("edge")
	volume := jsonObject{"type": "volume", "source": "gate", "target": "/run/gate"}
	w.services["gate"] = jsonObject{"image": "edge-gate:dev", "ports": edge["ports"], "volumes": []jsonObject{volume}}
	delete(edge, "ports")
	edge["volumes"] = append(edge["volumes"].([]jsonObject), volume)
	edge["environment"].(jsonObject)["EDGE_GATE"] = "/run/gate/gate.sock"
	w.volumes["gate"] = jsonObject{"name": "shop_gate", "driver_opts": jsonObject{"type": "tmpfs"}}
}

func TestTheGatePublishesThePortsOfTheEdge(t *testing.T) {
	for _, c := range []struct {
		name, published string // by whom, as docker ps prints it
		change          func(*fakeHost)
		level           Level
		want, hint      string
	}{
		{"nothing runs", "", nil, OK, "TCP port 443 is free", ""},
		{"the gate runs", "shop-gate-1 shop/gate\n", nil, OK, "is published by shop-gate-1", ""},
		{"an edge of before runs", "shop-edge-1 shop/edge\n", nil, Note, "which runs from before it had a gate", "docker compose up -d, at a quiet time"},
		{"another one has it", "nginx other/web\n", nil, Error, "is taken by the container nginx", "PUBLISH_HTTPS"},
		{"they share no volume", "", func(w *fakeHost) { delete(w.service("gate"), "volumes") }, Error, "no other service mounts that", "EDGE_GATE"},
		{"an application has the port", "", func(w *fakeHost) { w.service("app")["ports"] = []jsonObject{publishedPort("", "443", 80, "tcp")} }, Error, "both publish port 443", "take it out of ports of app"},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := newFakeHost(t)
			withGate(w)
			w.dockerOutputs["ps --filter publish=443/tcp"] = c.published
			if c.change != nil {
				c.change(w)
			}
			all := w.newCheck(t).Run(t.Context())
			expectFinding(t, all, "port", c.level, c.want, c.hint)
			for _, f := range all {
				if c.level == OK && f.Level != OK {
					t.Errorf("a stack with a gate has the finding %+v", f)
				}
				if strings.Contains(f.Message, "shop_gate") {
					t.Errorf("a volume in memory is checked: %+v", f)
				}
			}
		})
	}
}
