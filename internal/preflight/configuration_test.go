package preflight

import (
	"testing"

	"github.com/theworklabs/edge/internal/compose"
)

func TestConfigPathMatchesTheImage(t *testing.T) {
	with := func(paths ...string) *compose.Service {
		s := new(compose.Service)
		for _, path := range paths {
			s.Volumes = append(s.Volumes, compose.Mount{Type: "bind", Source: "/home/me" + path, Target: path})
		}
		return s
	}
	for _, c := range []struct {
		name string
		edge *compose.Service
		want string
		two  bool
	}{
		{"the image's", with(), edgeConfigPath, false},
		{"mounted", with(edgeConfigPath), edgeConfigPath, false},
		{"mounted where caddy:2 has it", with(caddyConfigPath), caddyConfigPath, false},
		{"mounted at both paths", with(edgeConfigPath, caddyConfigPath), edgeConfigPath, true},
	} {
		if got := configPath(c.edge); got != c.want || mountsTwoConfigs(c.edge) != c.two {
			t.Errorf("%s: got %s, two configurations: %t", c.name, got, mountsTwoConfigs(c.edge))
		}
	}
	withFlag := with(edgeConfigPath, caddyConfigPath)
	withFlag.Command = []string{"run", "--config", "/etc/mine"}
	if got := configPath(withFlag); got != "/etc/mine" || mountsTwoConfigs(withFlag) {
		t.Errorf("with --config in the command: got %s", got)
	}
}

func TestConfigFlagIsReadFromTheCommand(t *testing.T) {
	for _, c := range []struct {
		command []string
		want    string
	}{
		{nil, ""},
		{[]string{"run", "--config", "/a"}, "/a"},
		{[]string{"run", "-c", "/c"}, "/c"},
		{[]string{"run", "--config=/b"}, "/b"},
		{[]string{"run", "--config"}, ""},
	} {
		if got := configFlag(c.command); got != c.want {
			t.Errorf("%v: got %s, want %s", c.command, got, c.want)
		}
	}
}

func TestContainerPathsBecomeHostPaths(t *testing.T) {
	s := &compose.Service{Volumes: []compose.Mount{
		{Type: "bind", Source: "/home/me/conf", Target: "/etc/edge"},
		{Type: "bind", Source: "/home/me/root.pem", Target: "/etc/edge/root.pem"},
		{Type: "volume", Source: "data", Target: "/data"},
	}}
	got := string(withHostPaths(s, []byte(`{"a": "/etc/edge/x", "b": ["/etc/edge/root.pem", "/etc/edger", 1], "c": {"d": "/data/x"}}`)))
	if want := `{"a":"/home/me/conf/x","b":["/home/me/root.pem","/etc/edger",1],"c":{"d":"/data/x"}}`; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}
