package compose

import (
	"fmt"
	"testing"
)

func TestInvalidConfigIsAnError(t *testing.T) {
	if _, err := ParseStack(`{"services": [`); err == nil {
		t.Error("got no error")
	}
}

func TestParseStackUndoesDollarEscapes(t *testing.T) {
	s, err := ParseStack(`{"name": "shop", "services": {"web": {"environment": {"HASH": "$$2a$$14"}, "ports": [{"target": 80}]}}}`)
	if err != nil {
		t.Fatal(err)
	}
	web := s.Services["web"]
	if web.Name != "web" || *web.Environment["HASH"] != "$2a$14" || web.Ports[0].Protocol != "tcp" {
		t.Errorf("%+v", web)
	}
}

func TestImageNameDefaultsToProjectAndService(t *testing.T) {
	s := &Stack{Name: "shop"}
	for want, service := range map[string]*Service{"shop-web": {Name: "web"}, "web:1": {Name: "web", Image: "web:1"}} {
		if got := s.ImageName(service); got != want {
			t.Errorf("got %s, want %s", got, want)
		}
	}
}

func TestTheGateIsTheServiceWithWhichTheEdgeSharesItsSocket(t *testing.T) {
	const services = `{"services": {
		"edge": {"environment": {"EDGE_GATE": "%s"}, "volumes": [{"type": "volume", "source": "data", "target": "/data"}, {"type": "%s", "source": "gate", "target": "/run/gate"}]},
		"backup": {"volumes": [{"type": "volume", "source": "data", "target": "/data"}]},
		"gate": {"volumes": [{"type": "%[2]s", "source": "gate", "target": "/run/gate"}]}
	}, "volumes": {"data": {}, "gate": {"driver_opts": {"type": "tmpfs"}}}}`
	for _, c := range []struct{ path, mount, want string }{
		{"/run/gate/gate.sock", "volume", "gate"},
		{"/run/gate/gate.sock", "bind", "gate"},
		{"/run/gate.sock", "volume", ""},
		{"", "volume", ""},
	} {
		s, err := ParseStack(fmt.Sprintf(services, c.path, c.mount))
		if err != nil {
			t.Fatal(err)
		}
		got := ""
		if gate := s.Gate(s.Services["edge"]); gate != nil {
			got = gate.Name
		}
		if got != c.want {
			t.Errorf("%+v: the gate is %q", c, got)
		}
		if mount := s.Services["edge"].Volumes[1].Type; c.mount == "volume" && mount != "tmpfs" {
			t.Errorf("a volume in memory has the type %s", mount)
		}
	}
}

func TestPortCapacityIsTheSizeOfItsRange(t *testing.T) {
	for published, want := range map[string]int{"8080": 1, "8000-8003": 4, "": 1 << 16, "0": 1 << 16, "a-b": 1, "8003-8000": 1} {
		if got := (Port{Published: published}).Capacity(); got != want {
			t.Errorf("%q: got %d, want %d", published, got, want)
		}
	}
}
