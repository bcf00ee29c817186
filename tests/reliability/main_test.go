package main

import (
	"bytes"
	"strings"
	"testing"
)

func TestInvalidArgumentsAreRefused(t *testing.T) {
	for _, c := range []struct {
		args []string
		want string
	}{
		{[]string{"now"}, `unknown argument "now"`},
		{[]string{"--scenarios", "recreate,flood"}, `no scenario's name begins with "flood"`},
		{[]string{"--proxies", "edge,traefik"}, `proxy "traefik"`},
		{[]string{"--target", "traefik"}, `want NAME=URL`},
		{[]string{"--target", "traefik=127.0.0.1:8000"}, `want NAME=URL`},
		{[]string{"--target", "traefik=https://127.0.0.1"}, `want NAME=URL`},
		{[]string{"--target", "edge=http://127.0.0.1"}, "edge is the name of one of the lab's proxies"},
		{[]string{"--rate", "-1"}, "want a number above 0"},
		{[]string{"--speed", "1"}, "not defined: -speed"},
		{[]string{"--proxies", ""}, "no proxy"},
	} {
		err := run(t.Context(), c.args, new(bytes.Buffer))
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%q: %v, want %q in it", c.args, err, c.want)
		}
	}
}

func TestScenariosAreListed(t *testing.T) {
	var out bytes.Buffer
	if err := run(t.Context(), []string{"--list"}, &out); err != nil {
		t.Fatal(err)
	}
	for _, sc := range scenarios() {
		if !strings.Contains(out.String(), sc.name) || !strings.Contains(out.String(), sc.what) {
			t.Errorf("%q is not listed", sc.name)
		}
	}
}

func TestScenariosAreChosenByPrefix(t *testing.T) {
	chosen, err := chooseScenarios("scale 1 → 3 → 1 (rude), recreate,recreate")
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, sc := range chosen {
		names = append(names, sc.name)
	}
	if got := strings.Join(names, "; "); got != "scale 1 → 3 → 1 (rude); recreate (rude); recreate (polite); recreate (deaf); recreate (unavailable)" {
		t.Error(got)
	}
}

func TestTargetIsParsed(t *testing.T) {
	for text, want := range map[string]string{
		"traefik=http://127.0.0.1:8000": "127.0.0.1:8000",
		"other=http://proxy.example/":   "proxy.example:80",
	} {
		p, err := parseTarget(text)
		if err != nil || p.address != want || p.service != "" || p.isEdge() {
			t.Errorf("%s: %+v, %v; want the address %s", text, p, err, want)
		}
	}
}
