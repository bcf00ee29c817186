package discovery

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"

	"go.uber.org/zap"

	"github.com/theworklabs/edge/internal/registry"
)

func TestDirectoryReplacesTheServicesOfAnUpdate(t *testing.T) {
	sink := checkingSink{t, make(map[string][]registry.Member)}
	d := NewDirectory([]string{"p"}, sink, nil, zap.NewNop())
	running := Container{ID: "1", Name: "api-1", Addr: netip.MustParseAddr("10.0.0.1")}
	unhealthy := Container{ID: "2", Name: "api-2", Addr: netip.MustParseAddr("10.0.0.2"), UnhealthyReason: "not ready"}
	stopping := Container{ID: "3", Name: "web-1", Addr: netip.MustParseAddr("fd00::3"), IsStopping: true}
	const web = "3 p/web/web-1 terminating fd00::3; service p/web stopped"
	for _, step := range []struct {
		what   string
		update []Service
		api    string // the members of api and p/api
		web    string
	}{
		{
			"two services are new",
			[]Service{
				{Project: "p", Name: "API", IsKnown: true, Containers: []Container{running, unhealthy}},
				{Project: "p", Name: "web", IsKnown: true, Containers: []Container{stopping}},
			},
			"1 p/api/api-1 running 10.0.0.1; 2 p/api/api-2 running 10.0.0.2 not ready; service p/API stopped", web,
		},
		{
			"a container has gone",
			[]Service{{Project: "p", Name: "API", IsKnown: true, Containers: []Container{unhealthy}}},
			"2 p/api/api-2 running 10.0.0.2 not ready; service p/API stopped", web,
		},
		{
			"another project has the name too",
			[]Service{{Project: "q", Name: "api", IsKnown: true, Containers: []Container{running}}},
			"2 p/api/api-2 running 10.0.0.2 not ready; service p/API stopped", web,
		},
		{"no container is left", []Service{{Project: "p", Name: "API", IsKnown: true}}, "service p/API stopped", web},
		{"the service has gone", []Service{{Project: "p", Name: "API"}}, "", web},
		{"it had gone before", []Service{{Project: "p", Name: "API"}}, "", web},
	} {
		d.Update(step.update)
		for name, want := range map[string]string{"api": step.api, "p/api": step.api, "web": step.web, "p/web": step.web} {
			if got := describeMembers(sink.members[name]); got != want {
				t.Errorf("%s: %s has the members %q, want %q", step.what, name, got, want)
			}
		}
	}
	if len(d.ids) != 2 {
		t.Errorf("the directory still has %v", d.ids)
	}
}

func describeMembers(members []registry.Member) string {
	var all []string
	for _, m := range members {
		text := m.ID
		for _, part := range []any{m.Name, m.Phase, m.Addr, m.UnhealthyReason} {
			if s := fmt.Sprint(part); s != "" && s != "invalid IP" {
				text += " " + s
			}
		}
		all = append(all, text)
	}
	return strings.Join(all, "; ")
}
