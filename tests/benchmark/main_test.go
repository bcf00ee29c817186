package main

import (
	"bytes"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/theworklabs/edge/tests/benchmark/load"
)

func TestMain(m *testing.M) {
	if port := os.Getenv(backendVariable); port != "" {
		fmt.Fprintln(os.Stderr, runBackend(port))
		os.Exit(1)
	}
	os.Exit(m.Run())
}

func TestInvalidArgumentsAreRefused(t *testing.T) {
	for _, c := range []struct {
		args []string
		want string
	}{
		{[]string{"now"}, `unknown argument "now"`},
		{[]string{"--cases", "Small; Huge"}, `no case begins with "Huge"`},
		{[]string{"--proxies", "edge,envoy"}, `proxy "envoy"`},
		{[]string{"--proxies", ""}, "no proxy"},
		{[]string{"--profile", "HTTP/4"}, `profile "HTTP/4": want one of HTTP/1.1, `},
		{[]string{"--profile", "PUT HTTP/1.1"}, `profile "PUT HTTP/1.1": want one of`},
		{[]string{"--rounds", "0"}, "want more than 0"},
		{[]string{"--time", "0s"}, "want more than 0"},
		{[]string{"--target", "traefik"}, "want NAME=PID"},
		{[]string{"--target", "traefik=x,http://127.0.0.1:80"}, "want NAME=PID"},
		{[]string{"--target", "traefik=12,http://127.0.0.1"}, "want NAME=PID"},
		{[]string{"--target", "traefik=12,tcp://127.0.0.1:80"}, "want NAME=PID"},
		{[]string{"--target", "edge=12,http://127.0.0.1:80"}, "the name edge is taken"},
		{[]string{"--again", "--out", "no/such/directory"}, "no such file"},
	} {
		err := run(t.Context(), c.args, new(bytes.Buffer))
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%q: %v, want %q in it", c.args, err, c.want)
		}
	}
}

func TestCasesAreListed(t *testing.T) {
	var out bytes.Buffer
	if err := run(t.Context(), []string{"--list", "--cases", "Small requests: POST; Endpoints"}, &out); err != nil {
		t.Fatal(err)
	}
	if lines := strings.Split(strings.TrimSpace(out.String()), "\n"); len(lines) != 8 || lines[0] != "Small requests: POST 1 KB, HTTP/1.1" || lines[7] != "Endpoints: 100" {
		t.Errorf("%q", lines)
	}
}

func TestTargetIsParsed(t *testing.T) {
	got, err := parseTarget("traefik=12,http://127.0.0.1:8000,https://127.0.0.1:8443")
	if err != nil || got.pid != 12 || got.http != "127.0.0.1:8000" || !got.has(load.HTTP2) || got.has(load.HTTP3) {
		t.Errorf("%+v, %v", got, err)
	}
	if got, err = parseTarget("traefik=12,http://127.0.0.1:8000"); err != nil || got.has(load.HTTP1TLS) || !got.has(load.HTTP1) {
		t.Errorf("without TLS: %+v, %v", got, err)
	}
}

// TestTheBenchmarkRuns is its short form: the cases of our own settings, and one of each group and version of HTTP, once, with the edge and nginx. It needs a Docker Engine and what
// tests/setup makes, and fails without them.
func TestTheBenchmarkRuns(t *testing.T) {
	if testing.Short() {
		return // -short is for machines without Docker
	}
	targets, err := chooseTargets("edge,nginx", nil)
	if err != nil {
		t.Fatal(err)
	}
	b := &bench{effort: shortEffort, targets: targets, out: t.Output()}
	var chosen []benchCase
	for _, c := range cases() {
		if c.ours || !slices.ContainsFunc(chosen, func(o benchCase) bool { return o.group == c.group && o.version == c.version }) {
			chosen = append(chosen, c)
		}
	}
	r, err := b.run(t.Context(), chosen)
	if err != nil {
		t.Fatal(err, "\nrun tests/setup and deploy/image, or make test")
	}
	for _, failure := range r.Failures {
		t.Error(failure)
	}
	for _, c := range chosen {
		quantity := map[string]string{latency: p99, idle: memory}[c.group]
		if quantity == "" {
			quantity = processor
		}
		if result := r.find(c.group, c.name, "edge", quantity); result == nil {
			t.Errorf("%s: %s: not measured", c.group, c.name)
		}
	}
	dir := t.TempDir()
	if err := writeReports(dir, r); err != nil {
		t.Error(err)
	}
}
