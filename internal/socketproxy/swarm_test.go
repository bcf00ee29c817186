package socketproxy_test

import (
	"io"
	"net/http"
	"net/url"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/theworklabs/edge/internal/socketproxy"
)

// swarmLists are lists of a Swarm manager by path, with a secret in each field that discovery does not need, and what is left of them.
var swarmLists = map[string]struct{ full, stripped string }{
	"/tasks": {
		full: `[{"ID": "t1", "Version": {"Index": 31337}, "CreatedAt": "2026-11-01T00:00:00Z", "Labels": {"token": "hunter2"}, "Name": "hunter2",
			"Spec": {"ContainerSpec": {"Image": "web", "Env": ["PASSWORD=hunter2"], "Args": ["hunter2"], "Secrets": [{"SecretName": "hunter2"}]}},
			"ServiceID": "s1", "Slot": 2, "NodeID": "n1", "DesiredState": "running",
			"Status": {"Timestamp": "2026-11-01T00:00:00Z", "State": "running", "Message": "hunter2", "Err": "hunter2", "ContainerStatus": {"ContainerID": "hunter2", "PID": 31337}},
			"NetworksAttachments": [{"Network": {"ID": "net1", "Spec": {"Name": "shop_default", "Labels": {"token": "hunter2"}}, "IPAMOptions": {"Driver": {"Name": "hunter2"}}}, "Addresses": ["10.0.1.5/24"]}]}]`,
		stripped: `[{"ID": "t1", "ServiceID": "s1", "Slot": 2, "NodeID": "n1", "DesiredState": "running", "Status": {"State": "running"},
			"NetworksAttachments": [{"Network": {"ID": "net1", "Spec": {"Name": "shop_default"}}, "Addresses": ["10.0.1.5/24"]}]}]`,
	},
	"/services": {
		full: `[{"ID": "s1", "Version": {"Index": 31337}, "Spec": {"Name": "shop_web", "Labels": {"com.docker.stack.namespace": "shop", "com.docker.stack.image": "hunter2"},
			"TaskTemplate": {"ContainerSpec": {"Env": ["PASSWORD=hunter2"]}, "Networks": [{"Target": "hunter2", "Aliases": ["web"]}]},
			"Mode": {"Replicated": {"Replicas": 31337}}}, "PreviousSpec": {"Name": "hunter2"}, "Endpoint": {"VirtualIPs": [{"Addr": "hunter2"}]}}]`,
		stripped: `[{"ID": "s1", "Spec": {"Name": "shop_web", "Labels": {"com.docker.stack.namespace": "shop"}, "TaskTemplate": {"Networks": [{"Aliases": ["web"]}]}}}]`,
	},
	"/nodes": {
		full: `[{"ID": "n1", "Spec": {"Labels": {"token": "hunter2"}, "Role": "hunter2"}, "Description": {"Hostname": "node-1", "TLSInfo": {"TrustRoot": "hunter2"}},
			"Status": {"State": "down", "Message": "hunter2", "Addr": "hunter2"}, "ManagerStatus": {"Addr": "hunter2"}}]`,
		stripped: `[{"ID": "n1", "Description": {"Hostname": "node-1"}, "Status": {"State": "down"}}]`,
	},
}

// newSwarmProxy returns a proxy that may forward the lists, and the manager behind it.
func newSwarmProxy(t *testing.T) (*fakeEngine, *socketproxy.Proxy) {
	t.Helper()
	e := newFakeEngine(t, func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.WriteString(w, swarmLists[strings.TrimPrefix(r.URL.Path, "/v1.41")].full)
	})
	p := socketproxy.New(e.socket)
	p.AllowSwarm()
	return e, p
}

func TestSwarmListsAreStripped(t *testing.T) {
	_, p := newSwarmProxy(t)
	for path, list := range swarmLists {
		for _, target := range []string{path, "/v1.41" + path} {
			got := get(p, target)
			if got.Code != http.StatusOK || !reflect.DeepEqual(decodeJSON(t, got.Body.String()), decodeJSON(t, list.stripped)) {
				t.Errorf("%s: %d %s\nwant %s", target, got.Code, got.Body, list.stripped)
			}
		}
	}
}

func TestSwarmListsAreForwardedOnlyWhenAllowed(t *testing.T) {
	e, _ := newSwarmProxy(t)
	for path := range swarmLists {
		if got := get(socketproxy.New(e.socket), path); got.Code != http.StatusForbidden {
			t.Errorf("%s: %d, want 403", path, got.Code)
		}
	}
	if requests := e.takeRequests(); len(requests) > 0 {
		t.Errorf("the manager got %q", requests)
	}
}

func TestSwarmFiltersAreLimited(t *testing.T) {
	e, p := newSwarmProxy(t)
	for _, c := range []struct {
		path, filters string
		isForwarded   bool
	}{
		{"/tasks", `{"desired-state":{"running":true}}`, true},
		{"/tasks", `{"id":{"t1":true},"desired-state":{"running":true}}`, true},
		{"/tasks", `{"label":{"token=hunter2":true}}`, false},
		{"/tasks", `{"id":{"t1":true},"node":{"n1":true}}`, false},
		{"/services", `{"id":{"s1":true}}`, true},
		{"/services", `{"label":{"token=hunter2":true}}`, false},
		{"/nodes", `{"membership":{"accepted":true}}`, false},
		{"/nodes", `no json`, false},
	} {
		query := "?filters=" + url.QueryEscape(c.filters)
		code, want := http.StatusForbidden, []string(nil)
		if c.isForwarded {
			code, want = http.StatusOK, []string{"GET " + c.path + query}
		}
		if got := get(p, c.path+query); got.Code != code {
			t.Errorf("%s with %s: %d %s, want %d", c.path, c.filters, got.Code, got.Body, code)
		}
		if requests := e.takeRequests(); !slices.Equal(requests, want) {
			t.Errorf("%s with %s: the manager got %q, want %q", c.path, c.filters, requests, want)
		}
	}
	if got := get(p, "/services?status=true&insertDefaults=1"); got.Code != http.StatusOK || !slices.Equal(e.takeRequests(), []string{"GET /services"}) {
		t.Errorf("another query: %d, want it dropped", got.Code)
	}
}

func TestAWorkersErrorIsPassedOn(t *testing.T) {
	e := newFakeEngine(t, func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusServiceUnavailable)
		_, _ = io.WriteString(w, `{"message":"This node is not a swarm manager."}`)
	})
	p := socketproxy.New(e.socket)
	p.AllowSwarm()
	if got := get(p, "/tasks"); got.Code != http.StatusServiceUnavailable || !strings.Contains(got.Body.String(), "503") {
		t.Errorf("got %d %s, want the Engine's 503", got.Code, got.Body)
	}
}
