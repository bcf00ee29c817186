package compose

import "testing"

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

func TestPortCapacityIsTheSizeOfItsRange(t *testing.T) {
	for published, want := range map[string]int{"8080": 1, "8000-8003": 4, "": 1 << 16, "0": 1 << 16, "a-b": 1, "8003-8000": 1} {
		if got := (Port{Published: published}).Capacity(); got != want {
			t.Errorf("%q: got %d, want %d", published, got, want)
		}
	}
}
