package check

import "testing"

func TestTheConfigurationIsFoundWhereTheImageTakesIt(t *testing.T) {
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
		{"the image's", with(), shippedConfig, false},
		{"a mounted one", with(shippedConfig), shippedConfig, false},
		{"in place of caddy:2", with(caddyConfig), caddyConfig, false},
		{"two", with(shippedConfig, caddyConfig), shippedConfig, true},
	} {
		if got := c.edge.config(); got != c.want || c.edge.mountsTwoConfigs() != c.two {
			t.Errorf("%s: %s, two %t", c.name, got, c.edge.mountsTwoConfigs())
		}
	}
	named := with(shippedConfig, caddyConfig)
	named.Command = []string{"run", "--config", "/etc/mine"}
	if got := named.config(); got != "/etc/mine" || named.mountsTwoConfigs() {
		t.Errorf("named by the command: %s", got)
	}
}
