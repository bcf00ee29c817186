package version

import (
	"runtime/debug"
	"testing"
)

func TestOf(t *testing.T) {
	caddy := &debug.Module{Path: caddyPath, Version: "v2.11.9"}
	for name, c := range map[string]struct {
		info    *debug.BuildInfo
		release string
		want    Versions
	}{
		"a build": {&debug.BuildInfo{GoVersion: "go1.26.0", Main: debug.Module{Path: edgePath, Version: "v1.2.3"}, Deps: []*debug.Module{caddy}}, "", Versions{"v1.2.3", "v2.11.9", "go1.26.0"}},
		"by xcaddy": {
			&debug.BuildInfo{GoVersion: "go1.26.1", Main: debug.Module{Path: "caddy"}, Deps: []*debug.Module{caddy, {Path: edgePath, Version: "v1.2.3"}}}, "",
			Versions{"v1.2.3", "v2.11.9", "go1.26.1"},
		},
		"replaced": {
			&debug.BuildInfo{Main: debug.Module{Path: "caddy"}, Deps: []*debug.Module{caddy, {Path: edgePath, Version: "v1.2.3", Replace: &debug.Module{Path: "../edge"}}}}, "",
			Versions{"v1.2.3 (replaced by ../edge)", "v2.11.9", ""},
		},
		"a release": {&debug.BuildInfo{Main: debug.Module{Path: edgePath, Version: "(devel)"}}, "v2.0.0", Versions{"v2.0.0", "unknown", ""}},
		"unknown":   {&debug.BuildInfo{GoVersion: "go1.26.3"}, "", Versions{"unknown", "unknown", "go1.26.3"}},
	} {
		if got := Of(c.info, c.release); got != c.want {
			t.Errorf("%s: got %+v, want %+v", name, got, c.want)
		}
	}
	if Program().Go == "" {
		t.Errorf("got %+v", Program())
	}
}
