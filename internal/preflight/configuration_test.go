package preflight

import "testing"

func TestConfigPathMatchesTheImage(t *testing.T) {
	with := func(paths ...string) *service {
		s := new(service)
		for _, path := range paths {
			s.Volumes = append(s.Volumes, mount{Type: "bind", Source: "/home/me" + path, Target: path})
		}
		return s
	}
	for _, c := range []struct {
		name string
		edge *service
		want string
		two  bool
	}{
		{"the image's", with(), edgeConfigPath, false},
		{"a mounted one", with(edgeConfigPath), edgeConfigPath, false},
		{"in place of caddy:2", with(caddyConfigPath), caddyConfigPath, false},
		{"two", with(edgeConfigPath, caddyConfigPath), edgeConfigPath, true},
	} {
		if got := c.edge.configPath(); got != c.want || c.edge.mountsTwoConfigs() != c.two {
			t.Errorf("%s: %s, two %t", c.name, got, c.edge.mountsTwoConfigs())
		}
	}
	named := with(edgeConfigPath, caddyConfigPath)
	named.Command = []string{"run", "--config", "/etc/mine"}
	if got := named.configPath(); got != "/etc/mine" || named.mountsTwoConfigs() {
		t.Errorf("named by the command: %s", got)
	}
}
