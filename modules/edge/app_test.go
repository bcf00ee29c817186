package edge_test

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/caddyserver/caddy/v2"
)

func TestMistakesInJSONFailAtLoad(t *testing.T) {
	s := newTestEdge(t)
	for _, c := range []struct {
		app, route object
		want       string
	}{
		{object{"hold": -1}, object{}, "hold can't be negative"},
		{object{"refresh": "-1s"}, object{}, "refresh can't be negative"},
		{object{"terminating_timeout": "-1s"}, object{}, "terminating_timeout can't be negative"},
		{object{"restart_unhealthy": "-1s"}, object{}, "restart_unhealthy can't be negative"},
		{object{"restart_unhealthy": "30s"}, object{}, "restart_unhealthy needs docker_host"},
		{object{"swarm": true}, object{}, "swarm needs docker_host"},
		{object{"kubernetes": true, "docker_host": "tcp://a:1"}, object{}, "kubernetes: leave out docker_host"},
		{object{"swarm": true, "docker_host": "tcp://a:1", "restart_unhealthy": "30s"}, object{}, "restart_unhealthy: leave it out with swarm"},
		{object{"max_held": -1}, object{}, "max_held can't be negative"},
		{object{"refresh": "1ms"}, object{}, "the shortest is 100ms"},
		{object{"docker_host": "docker-guard"}, object{}, `docker_host "docker-guard"`},
		{object{"endpoint": "docker-guard"}, object{}, `docker_host "docker-guard"`},
		{object{"endpoint": "tcp://a:1", "docker_host": "tcp://a:1"}, object{}, "endpoint is the old name of docker_host"},
		{object{"drain_timeout": "1s", "terminating_timeout": "2s"}, object{}, "drain_timeout is the old name of terminating_timeout"},
		{object{"resolver": "dns"}, object{}, `resolver "dns"`},
		{object{"static": object{"api": []any{closedAddress}}}, object{}, `service "api": want NAME:PORT`},
		{object{"static": object{"api:80": []any{}}}, object{}, "static api:80: want at least one address"},
		{object{"static": object{"api:80": []any{"api:80"}}}, object{}, `static api:80: "api:80": want ADDRESS:PORT`},
		{object{"static": object{"api:80": []any{closedAddress, closedAddress}}}, object{}, "is listed twice"},
		{object{"stop_signals": []any{"TERM"}}, object{}, `"TERM"`},
		{object{}, object{"service": "api"}, `service "api": want NAME:PORT`},
		{object{}, object{"hold": -1}, "service api:80: hold can't be negative"},
		{object{}, object{"max_held": -1}, "service api:80: max_held can't be negative"},
		{object{}, object{"probe": object{"uris": []any{"health"}}}, `service api:80: probe uri "health"`},
		{object{}, object{"probe": object{"interval": -1}}, "service api:80: probe: interval"},
	} {
		if c.route["service"] == nil {
			c.route["service"] = "api:80"
		}
		config := new(caddy.Config)
		if err := json.Unmarshal(s.config(c.app, c.route), config); err != nil {
			t.Fatal(err)
		}
		if err := caddy.Validate(config); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%v %v: got %v, want %q", c.app, c.route, err, c.want)
		}
		if all := services(t); len(all) != 0 {
			t.Fatalf("%v %v: after a failed configuration the registry has %v", c.app, c.route, all)
		}
	}
}
