package cmd

import (
	"runtime/debug"
	"testing"
)

func TestVersion(t *testing.T) {
	caddy := &debug.Module{Path: caddyPath, Version: "v2.11.9"}
	for want, info := range map[string]*debug.BuildInfo{
		"edge v1.2.3, Caddy v2.11.9, go1.26.0": {GoVersion: "go1.26.0", Main: debug.Module{Path: modulePath, Version: "v1.2.3"}, Deps: []*debug.Module{caddy}},
		"edge v1.2.3, Caddy v2.11.9, go1.26.1": { // by xcaddy
			GoVersion: "go1.26.1", Main: debug.Module{Path: "caddy"}, Deps: []*debug.Module{caddy, {Path: modulePath, Version: "v1.2.3"}},
		},
		"edge v1.2.3 (replaced by ../edge), Caddy v2.11.9, go1.26.2": {
			GoVersion: "go1.26.2", Main: debug.Module{Path: "caddy"}, Deps: []*debug.Module{caddy, {Path: modulePath, Version: "v1.2.3", Replace: &debug.Module{Path: "../edge"}}},
		},
		"edge unknown, Caddy unknown, go1.26.3": {GoVersion: "go1.26.3"},
	} {
		if got := describeVersion(info); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}
