package backup

import (
	"encoding/json"
	"fmt"
	"net"
	"path/filepath"
	"strings"
	"testing"
)

// canonical returns JSON with sorted keys and indentation.
func canonical(t *testing.T, text []byte) string {
	t.Helper()
	var value any
	if err := json.Unmarshal(text, &value); err != nil {
		t.Fatal(err)
	}
	indented, err := json.MarshalIndent(value, "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	return string(indented)
}

func TestADrillHasNothingThatReachesOut(t *testing.T) {
	const project = `{
	"name": "shop",
	"services": {
		"edge": {"image": "edge:dev", "environment": {"EDGE_GATE": "/run/gate/gate.sock"}, "volumes": [{"type": "volume", "source": "gate", "target": "/run/gate"}]},
		"gate": {"image": "edge-gate:dev", "ports": [{"target": 443}], "volumes": [{"type": "volume", "source": "gate", "target": "/run/gate"}]},
		"guard": {"image": "edge:dev", "volumes": [{"type": "bind", "source": "/run/docker.sock", "target": "/var/run/docker.sock"}]},
		"app": {
			"build": {"context": "."}, "container_name": "app", "ports": [{"target": 80}], "restart": "always", "profiles": ["x"],
			"environment": {"MAIL_HOST": "mail.example.com", "S3_BUCKET": "b", "DB_HOST": "db", "PASSWORD": "a$$b"},
			"networks": {"front": {"aliases": ["shop.example.com"], "ipv4_address": "10.0.0.7"}, "data": null},
			"depends_on": {"db": {"condition": "service_healthy"}, "edge": {"condition": "service_started"}},
			"labels": {"edge.backup": "files"}, "extra_hosts": ["host.docker.internal=host-gateway"],
			"volumes": [
				{"type": "volume", "source": "data", "target": "/data"},
				{"type": "bind", "source": "/srv/uploads", "target": "/uploads", "bind": {"create_host_path": true}},
				{"type": "bind", "source": "/srv/app.conf", "target": "/etc/app.conf", "read_only": true}]
		},
		"agent": {"image": "agent", "network_mode": "host", "privileged": true, "devices": ["/dev/sda"], "volumes_from": ["container:x"]},
		"db": {"image": "postgres:15"}
	},
	"networks": {"front": {"name": "shop_network", "external": true}, "data": {"name": "shop_data", "ipam": {}}},
	"volumes": {"data": {"name": "production_data", "external": true}},
	"configs": {"c": {"content": "x"}}
}`
	const want = `{
	"name": "shop-drill",
	"services": {
		"app": {
			"image": "shop-app", "restart": "no", "pull_policy": "never", "cpu_shares": 109, "cpuset": "2-3",
			"environment": {"MAIL_HOST": "", "S3_BUCKET": "", "DB_HOST": "db", "PASSWORD": "a$$b", "EVENTBUS_SCHEDULER_ENABLED": "false"},
			"networks": {"front": null, "data": null},
			"depends_on": {"db": {"condition": "service_healthy"}},
			"labels": {"edge.backup": "files", "edge.drill": "true"},
			"volumes": [
				{"type": "volume", "source": "data", "target": "/data"},
				{"type": "volume", "source": "drill_app_1", "target": "/uploads"},
				{"type": "bind", "source": "/srv/app.conf", "target": "/etc/app.conf", "read_only": true}]
		},
		"agent": {"image": "agent", "network_mode": "none", "restart": "no", "pull_policy": "never", "cpu_shares": 109, "cpuset": "2-3", "labels": {"edge.drill": "true"}},
		"db": {"image": "postgres:15", "restart": "no", "pull_policy": "never", "cpu_shares": 109, "cpuset": "2-3", "labels": {"edge.drill": "true"}}
	},
	"networks": {"front": {"internal": true}, "data": {"internal": true}},
	"volumes": {"data": {}, "drill_app_1": {}},
	"configs": {"c": {"content": "x"}}
}`
	text, err := drillStack([]byte(project), "edge", "2-3", everyPathIsADirectory)
	if err != nil {
		t.Fatal(err)
	}
	if got, want := canonical(t, text), canonical(t, []byte(want)); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	if _, err := drillStack([]byte("x"), "edge", "2-3", everyPathIsADirectory); err == nil {
		t.Error("what is no project is accepted")
	}
}

// TestADrillReachesNoSocketOfTheMachine: an application that is rehearsed would write to the machine's own database.
func TestADrillReachesNoSocketOfTheMachine(t *testing.T) {
	dir, empty := t.TempDir(), t.TempDir()
	socket := filepath.Join(dir, "db.sock")
	listener, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	project := fmt.Sprintf(`{"name": "shop", "services": {"app": {"image": "app", "volumes": [
		{"type": "bind", "source": %q, "target": "/db.sock"},
		{"type": "bind", "source": %q, "target": "/sockets", "read_only": true},
		{"type": "bind", "source": "/run/mysqld", "target": "/run/mysqld", "read_only": true},
		{"type": "bind", "source": %q, "target": "/etc/app", "read_only": true}]}}}`, socket, dir, empty)
	text, err := drillStack([]byte(project), "edge", "", isDirectory)
	if err != nil {
		t.Fatal(err)
	}
	if got := string(text); strings.Contains(got, dir) || strings.Contains(got, "mysqld") || !strings.Contains(got, empty) {
		t.Errorf("got\n%s", got)
	}
}
