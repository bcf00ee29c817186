package service_test

import (
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"

	"github.com/theworklabs/edge/modules/service"
)

func TestMergeCombinesSettingsOfRoutes(t *testing.T) {
	probe := &service.Probe{URIs: []string{"/health"}, Fall: 2}
	again := &service.Probe{URIs: []string{"/health"}, Fall: 2}
	hold := caddy.Duration(time.Minute)
	full := service.Config{Probe: probe, Hold: hold, MaxHeld: 5}
	for name, c := range map[string]struct{ a, b, want service.Config }{
		"neither has a value":       {service.Config{}, service.Config{}, service.Config{}},
		"one has all values":        {service.Config{}, full, full},
		"each has some values":      {service.Config{Hold: hold}, service.Config{Probe: probe, MaxHeld: 5}, full},
		"both have the same values": {full, service.Config{Probe: again, Hold: hold, MaxHeld: 5}, full},
		"one repeats a value":       {full, service.Config{MaxHeld: 5}, full},
		"a probe without settings":  {service.Config{Probe: new(service.Probe)}, service.Config{Hold: hold}, service.Config{Probe: new(service.Probe), Hold: hold}},
	} {
		for _, order := range [][2]service.Config{{c.a, c.b}, {c.b, c.a}} {
			if got, err := order[0].Merge(order[1]); err != nil || !reflect.DeepEqual(got, c.want) {
				t.Errorf("%s: got %+v %v, want %+v", name, got, err, c.want)
			}
		}
	}
}

func TestMergeErrorNamesConflictingSettings(t *testing.T) {
	minute, hour := caddy.Duration(time.Minute), caddy.Duration(time.Hour)
	uris := func(uris ...string) *service.Probe { return &service.Probe{URIs: uris} }
	for _, c := range []struct {
		a, b     service.Config
		names    []string
		notNames []string
	}{
		{service.Config{Hold: minute}, service.Config{Hold: hour}, []string{"hold (1m0s and 1h0m0s)"}, []string{"probe", "max_held"}},
		{service.Config{MaxHeld: 1}, service.Config{MaxHeld: 2}, []string{"max_held (1 and 2)"}, []string{"probe", "hold ("}},
		{service.Config{Probe: uris("/a")}, service.Config{Probe: uris("/b")}, []string{"probe"}, []string{"hold"}},
		{service.Config{Probe: uris("/a", "/b")}, service.Config{Probe: uris("/b", "/a")}, []string{"probe"}, nil},
		{service.Config{Probe: uris("/a")}, service.Config{Probe: new(service.Probe)}, []string{"probe"}, nil},
		{
			service.Config{Probe: uris("/a"), Hold: minute, MaxHeld: 1},
			service.Config{Probe: uris("/b"), Hold: hour, MaxHeld: 2},
			[]string{"probe, hold (1m0s and 1h0m0s), max_held (1 and 2)", "in one place"},
			nil,
		},
	} {
		_, err := c.a.Merge(c.b)
		if err == nil {
			t.Errorf("%+v and %+v: got no error", c.a, c.b)
			continue
		}
		for _, name := range c.names {
			if !strings.Contains(err.Error(), name) {
				t.Errorf("got %q, want it to name %q", err, name)
			}
		}
		for _, name := range c.notNames {
			if strings.Contains(err.Error(), name) {
				t.Errorf("got %q, want it not to name %q, in which they agree", err, name)
			}
		}
	}
}
