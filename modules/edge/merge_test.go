package edge_test

import (
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"

	"github.com/theworklabs/edge/modules/edge"
)

func TestMergeCombinesSettingsOfRoutes(t *testing.T) {
	probe := &edge.Probe{URIs: []string{"/health"}, Fall: 2}
	again := &edge.Probe{URIs: []string{"/health"}, Fall: 2}
	hold := caddy.Duration(time.Minute)
	full := edge.ServiceConfig{Probe: probe, Hold: hold, MaxHeld: 5}
	for name, c := range map[string]struct{ a, b, want edge.ServiceConfig }{
		"neither says anything":    {edge.ServiceConfig{}, edge.ServiceConfig{}, edge.ServiceConfig{}},
		"one says all":             {edge.ServiceConfig{}, full, full},
		"each says something":      {edge.ServiceConfig{Hold: hold}, edge.ServiceConfig{Probe: probe, MaxHeld: 5}, full},
		"both say the same":        {full, edge.ServiceConfig{Probe: again, Hold: hold, MaxHeld: 5}, full},
		"one repeats part of all":  {full, edge.ServiceConfig{MaxHeld: 5}, full},
		"a probe with no settings": {edge.ServiceConfig{Probe: new(edge.Probe)}, edge.ServiceConfig{Hold: hold}, edge.ServiceConfig{Probe: new(edge.Probe), Hold: hold}},
	} {
		for _, order := range [][2]edge.ServiceConfig{{c.a, c.b}, {c.b, c.a}} {
			if got, err := order[0].Merge(order[1]); err != nil || !reflect.DeepEqual(got, c.want) {
				t.Errorf("%s: got %+v %v, want %+v", name, got, err, c.want)
			}
		}
	}
}

func TestMergeErrorNamesConflictingSettings(t *testing.T) {
	minute, hour := caddy.Duration(time.Minute), caddy.Duration(time.Hour)
	uris := func(uris ...string) *edge.Probe { return &edge.Probe{URIs: uris} }
	for _, c := range []struct {
		a, b  edge.ServiceConfig
		names []string
		not   []string
	}{
		{edge.ServiceConfig{Hold: minute}, edge.ServiceConfig{Hold: hour}, []string{"hold (1m0s and 1h0m0s)"}, []string{"probe", "max_held"}},
		{edge.ServiceConfig{MaxHeld: 1}, edge.ServiceConfig{MaxHeld: 2}, []string{"max_held (1 and 2)"}, []string{"probe", "hold ("}},
		{edge.ServiceConfig{Probe: uris("/a")}, edge.ServiceConfig{Probe: uris("/b")}, []string{"probe"}, []string{"hold"}},
		{edge.ServiceConfig{Probe: uris("/a", "/b")}, edge.ServiceConfig{Probe: uris("/b", "/a")}, []string{"probe"}, nil},
		{edge.ServiceConfig{Probe: uris("/a")}, edge.ServiceConfig{Probe: new(edge.Probe)}, []string{"probe"}, nil},
		{
			edge.ServiceConfig{Probe: uris("/a"), Hold: minute, MaxHeld: 1},
			edge.ServiceConfig{Probe: uris("/b"), Hold: hour, MaxHeld: 2},
			[]string{"probe, hold (1m0s and 1h0m0s), max_held (1 and 2)", "one service"},
			nil,
		},
	} {
		_, err := c.a.Merge(c.b)
		if err == nil {
			t.Errorf("%+v and %+v were taken for the same", c.a, c.b)
			continue
		}
		for _, name := range c.names {
			if !strings.Contains(err.Error(), name) {
				t.Errorf("%q does not name %q", err, name)
			}
		}
		for _, name := range c.not {
			if strings.Contains(err.Error(), name) {
				t.Errorf("%q names %q, in which they agree", err, name)
			}
		}
	}
}
