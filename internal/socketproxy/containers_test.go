package socketproxy_test

import (
	"encoding/json"
	"io"
	"net/http"
	"net/url"
	"reflect"
	"strings"
	"testing"
)

// fullList is a list of a Docker Engine of API 1.51, with a secret in each field that discovery does not need.
const fullList = `[{
	"Id": "3fc1", "Names": ["/p-api-1"], "Created": 1700000000,
	"ImageManifestDescriptor": {"annotations": {"a": "hunter2"}},
	"Command": "server --password hunter2",
	"Ports": [{"IP": "0.0.0.0", "PrivatePort": 3000, "PublicPort": 31337, "Type": "tcp"}],
	"SizeRw": 31337, "SizeRootFs": 31337,
	"Labels": {
		"com.docker.compose.project": "p", "com.docker.compose.service": "api",
		"com.docker.compose.container-number": "1", "com.docker.compose.oneoff": "False", "com.docker.compose.depends_on": "db:service_healthy:false",
		"com.docker.compose.project.config_files": "/home/hunter2/compose.yaml",
		"com.docker.compose.project.environment_file": "/home/hunter2/.env",
		"com.docker.compose.config-hash": "hunter2", "com.docker.compose.project.working_dir": "/home/hunter2",
		"traefik.http.middlewares.auth.basicauth.users": "admin:hunter2", "token": "hunter2",
		"edge": "hunter2", "edgeless.token": "hunter2", "Edge.token": "hunter2", "my.edge.token": "hunter2",
		"edge.stop_signals": "WINCH", "edge.probe": "/health"
	},
	"State": "running", "Status": "Up 2 minutes (healthy)", "Health": {"Log": [{"Output": "hunter2"}]},
	"HostConfig": {"NetworkMode": "hunter2", "Annotations": {"a": "hunter2"}},
	"NetworkSettings": {"Networks": {"p_default": {"IPAddress": "172.18.0.7"}}},
	"Mounts": [{"Type": "bind", "Source": "/home/hunter2", "Destination": "/data"}],
	"Env": ["PASSWORD=hunter2"]
}]`

const strippedList = `[{
	"Id": "3fc1", "Names": ["/p-api-1"], "Created": 1700000000,
	"Labels": {
		"com.docker.compose.project": "p", "com.docker.compose.service": "api",
		"com.docker.compose.container-number": "1", "com.docker.compose.oneoff": "False", "com.docker.compose.depends_on": "db:service_healthy:false",
		"edge.stop_signals": "WINCH", "edge.probe": "/health"
	},
	"State": "running", "Status": "Up 2 minutes (healthy)",
	"NetworkSettings": {"Networks": {"p_default": {"IPAddress": "172.18.0.7"}}}
}]`

func TestListIsStrippedToNeededFields(t *testing.T) {
	e := newFakeEngine(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		_, _ = io.WriteString(w, fullList)
	})
	s := newProxyServer(t, e.socket)
	for _, path := range []string{"/containers/json", "/v1.51/containers/json?all=1&size=1"} {
		got := s.get(path)
		if got.status != http.StatusOK || got.header.Get("Content-Type") != "application/json" {
			t.Fatalf("%s: %d %v", path, got.status, got.header)
		}
		if !reflect.DeepEqual(decodeJSON(t, got.body), decodeJSON(t, strippedList)) {
			t.Errorf("%s: got %s\nwant %s", path, got.body, strippedList)
		}
		if strings.Contains(got.body, "hunter2") || strings.Contains(got.body, "31337") {
			t.Errorf("%s: the list contains a secret: %s", path, got.body)
		}
	}
}

func decodeJSON(t *testing.T, text string) (value any) {
	t.Helper()
	if err := json.Unmarshal([]byte(text), &value); err != nil {
		t.Fatalf("%v: %s", err, text)
	}
	return value
}

func TestEmptyListIsAnEmptyArray(t *testing.T) {
	e := newFakeEngine(t, dockerHandler)
	if got := newProxyServer(t, e.socket).get("/containers/json"); got.status != http.StatusOK || strings.TrimSpace(got.body) != "[]" {
		t.Errorf("%d %q, want 200 and []", got.status, got.body)
	}
}

func TestListForwardsOnlyAllowedParameters(t *testing.T) {
	e := newFakeEngine(t, dockerHandler)
	s := newProxyServer(t, e.socket)
	filters := `{"id":{"3fc1":true}}`
	for _, c := range []struct{ given, forwarded url.Values }{
		{nil, nil},
		{url.Values{"all": {"1"}}, url.Values{"all": {"1"}}},
		{url.Values{"limit": {"5"}}, url.Values{"limit": {"5"}}},
		{url.Values{"filters": {filters}}, url.Values{"filters": {filters}}},
		{url.Values{"size": {"1"}, "before": {"x"}, "since": {"x"}}, nil},
		{url.Values{"all": {"1", "0"}, "size": {"1"}}, url.Values{"all": {"1"}}},
		{url.Values{"limit": {"5&size=1#"}}, url.Values{"limit": {"5&size=1#"}}},
	} {
		if got := s.get("/v1.51/containers/json?" + c.given.Encode()); got.status != http.StatusOK {
			t.Fatalf("%v: %d %s", c.given, got.status, got.body)
		}
		if query := e.onlyRequest(t).URL.Query(); query.Encode() != c.forwarded.Encode() {
			t.Errorf("%v: the Engine got the query %v, want %v", c.given, query, c.forwarded)
		}
		e.takeRequests()
	}
}
