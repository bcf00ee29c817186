package rollout

import (
	"strings"
	"testing"
)

// parseServices returns the services of the output of `docker compose config`.
func parseServices(t *testing.T, text string) map[string]service {
	t.Helper()
	_, services, err := parseConfig(`{"name": "shop", "services": ` + text + `}`)
	if err != nil {
		t.Fatal(err)
	}
	return services
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
		services := parseServices(t, `{"web": `+c.service+`}`)
		got, err := services["web"].conflicts(services, nil, 4)
		if err != nil || strings.Join(got, "; ") != c.want {
			t.Errorf("%s: %q, %v; want %q", c.service, got, err, c.want)
		}
	}
}

func TestAnonymousVolumeIsAConflict(t *testing.T) {
	var c container
	c.State.Status = "running"
	c.Mounts = append(c.Mounts, struct {
		Type, Name, Destination string
		RW                      bool
	}{"volume", strings.Repeat("ab", 32), "/var/lib/data", true})
	services := parseServices(t, `{"web": {}}`)
	got, err := services["web"].conflicts(services, []container{c}, 2)
	if err != nil || len(got) != 1 || !strings.Contains(got[0], "/var/lib/data") {
		t.Errorf("%q, %v", got, err)
	}
	if got, err = services["web"].conflicts(services, []container{c, c}, 4); err != nil || len(got) > 0 {
		t.Errorf("two that run already: %q, %v", got, err)
	}
}

func TestSharedNamespaceIsAConflict(t *testing.T) {
	services := parseServices(t, `{"web": {}, "sidecar": {"network_mode": "service:web"}, "viewer": {"pid": "service:web"}, "free": {}}`)
	got, err := services["web"].conflicts(services, nil, 2)
	if want := "sidecar lives in its container; viewer lives in its container"; err != nil || strings.Join(got, "; ") != want {
		t.Errorf("%q, %v", got, err)
	}
}

func TestRolloutLabelMustBeTrueOrFalse(t *testing.T) {
	services := parseServices(t, `{"web": {"labels": {"edge.rollout": "maybe"}}}`)
	if got, err := services["web"].conflicts(services, nil, 2); err == nil {
		t.Errorf("%q, no error", got)
	}
}

func TestOneShotsAreSortedByDependency(t *testing.T) {
	const done = `{"condition": "service_completed_successfully"}`
	services := parseServices(t, `{
		"web": {"depends_on": {"seed": `+done+`, "migrate": `+done+`, "db": {"condition": "service_healthy"}, "gone": `+done+`}},
		"seed": {"depends_on": {"migrate": `+done+`}}, "migrate": {"depends_on": {"init": `+done+`}}, "init": {}, "db": {"depends_on": {"init": `+done+`}}
	}`)
	if got := joinNames(oneShotDependencies(services, "web")); got != "init, migrate, seed" {
		t.Errorf("%s, want init, migrate, seed", got)
	}
}

func TestInvalidComposeConfigIsAnError(t *testing.T) {
	if _, _, err := parseConfig(`{"services": [`); err == nil {
		t.Error("no error")
	}
}
