package rollout

import (
	"strings"
	"testing"

	"github.com/theworklabs/edge/internal/compose"
)

// parseServices returns a project with services as `docker compose config` prints them.
func parseServices(t *testing.T, text string) *compose.Stack {
	t.Helper()
	s, err := compose.ParseStack(`{"name": "shop", "services": ` + text + `}`)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestConflictsAreResourcesThatCanExistOnce(t *testing.T) {
	for _, c := range []struct{ service, want string }{
		{`{}`, ""},
		{`{"volumes": [{"type": "bind", "source": "/etc/x", "target": "/x", "read_only": true}, {"type": "tmpfs", "target": "/tmp"}], "networks": {"a": null, "b": {}}}`, ""},
		{`{"container_name": "web"}`, "its container_name web can exist once"},
		{`{"ports": [{"published": "8080"}]}`, "it publishes port 8080 of the host"},
		{`{"ports": [{"target": 80}, {"published": "0"}]}`, ""},
		{`{"ports": [{"published": "8000-8003"}]}`, ""},
		{`{"ports": [{"published": "8000-8002"}]}`, "it publishes port 8000-8002 of the host"},
		{`{"ports": [{"published": "a-b"}]}`, "it publishes port a-b of the host"},
		{`{"network_mode": "host"}`, "it shares a network with others (network_mode host)"},
		{`{"network_mode": "service:other"}`, "it shares a network with others (network_mode service:other)"},
		{`{"networks": {"a": {"ipv4_address": "10.0.0.9"}}}`, "it has a fixed address on network a"},
		{`{"networks": {"a": {"mac_address": "02:00:00:00:00:01"}}}`, "it has a fixed address on network a"},
		{`{"deploy": {"mode": "global"}}`, "its deploy.mode is global"},
		{`{"volumes": [{"type": "volume", "source": "data", "target": "/data"}]}`, "it writes to volume data"},
		{`{"volumes": [{"type": "bind", "source": "/srv", "target": "/srv"}]}`, "it writes to bind /srv"},
		{`{"volumes_from": ["other", "third:ro"]}`, "it writes to volumes of other"},
		{`{"volumes": [{"type": "volume", "source": "data", "target": "/data"}], "labels": {"edge.rollout": "true"}}`, ""},
		{`{"volumes": [{"type": "volume", "source": "data", "target": "/data"}], "deploy": {"replicas": 2}}`, ""},
		{`{"container_name": "web", "labels": {"edge.rollout": "true"}}`, "its container_name web can exist once"},
		{`{"labels": {"edge.rollout": "false"}}`, "its label edge.rollout is false"},
	} {
		stack := parseServices(t, `{"web": `+c.service+`}`)
		got, err := conflicts(stack, stack.Services["web"], nil, 4)
		if err != nil || strings.Join(got, "; ") != c.want {
			t.Errorf("%s: got %q, %v; want %q", c.service, got, err, c.want)
		}
	}
}

func TestAnonymousVolumeIsAConflict(t *testing.T) {
	var c container
	c.State.Status = "running"
	c.Mounts = append(c.Mounts, compose.ContainerMount{Type: "volume", Name: strings.Repeat("ab", 32), Destination: "/var/lib/data", RW: true})
	stack := parseServices(t, `{"web": {}}`)
	got, err := conflicts(stack, stack.Services["web"], []container{c}, 2)
	if err != nil || len(got) != 1 || !strings.Contains(got[0], "/var/lib/data") {
		t.Errorf("got %q, %v", got, err)
	}
	if got, err = conflicts(stack, stack.Services["web"], []container{c, c}, 4); err != nil || len(got) > 0 {
		t.Errorf("two containers that run already: got %q, %v; want none", got, err)
	}
}

func TestSharedNamespaceIsAConflict(t *testing.T) {
	stack := parseServices(t, `{"web": {}, "sidecar": {"network_mode": "service:web"}, "viewer": {"pid": "service:web"}, "free": {}}`)
	got, err := conflicts(stack, stack.Services["web"], nil, 2)
	if want := "sidecar lives in its container; viewer lives in its container"; err != nil || strings.Join(got, "; ") != want {
		t.Errorf("got %q, %v; want %q", got, err, want)
	}
}

func TestRolloutLabelMustBeTrueOrFalse(t *testing.T) {
	stack := parseServices(t, `{"web": {"labels": {"edge.rollout": "maybe"}}}`)
	if got, err := conflicts(stack, stack.Services["web"], nil, 2); err == nil {
		t.Errorf("got %q and no error", got)
	}
}
