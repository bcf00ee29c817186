package edge_test

import (
	"encoding/json"
	"reflect"
	"strings"
	"testing"

	"github.com/caddyserver/caddy/v2/caddyconfig"
	_ "github.com/caddyserver/caddy/v2/caddyconfig/httpcaddyfile"
)

// adapt turns a Caddyfile with global options into the JSON of the app.
func adapt(t *testing.T, options string) (app string, err error) {
	t.Helper()
	adapted, _, err := caddyconfig.GetAdapter("caddyfile").Adapt([]byte("{\n"+options+"\n}\n"), nil)
	if err != nil {
		return "", err
	}
	var config struct {
		Apps struct{ Edge json.RawMessage }
	}
	if err := json.Unmarshal(adapted, &config); err != nil {
		t.Fatal(err)
	}
	return string(config.Apps.Edge), nil
}

// equalJSON reports whether two JSON texts have the same value.
func equalJSON(t *testing.T, a, b string) bool {
	t.Helper()
	var x, y any
	for text, to := range map[*string]*any{&a: &x, &b: &y} {
		if err := json.Unmarshal([]byte(*text), to); err != nil {
			t.Fatalf("%v: %s", err, *text)
		}
	}
	return reflect.DeepEqual(x, y)
}

func TestGlobalOptionAdaptsToJSON(t *testing.T) {
	for _, c := range []struct{ block, want string }{
		{"", `{}`},
		{"docker_host tcp://docker-guard:2375", `{"docker_host":"tcp://docker-guard:2375"}`},
		{"docker_host unix:///var/run/docker.sock", `{"docker_host":"unix:///var/run/docker.sock"}`},
		{"project shop", `{"project":"shop"}`},
		{"projects front shop", `{"projects":["front","shop"]}`},
		{"projects \"front shop\" blog", `{"projects":["front","shop","blog"]}`},
		{`projects ""`, `{}`},
		{"projects any", `{"projects":["any"]}`},
		{"network front back", `{"networks":["front","back"]}`},
		{"network front\nnetwork back", `{"networks":["front","back"]}`},
		{"stop_signals WINCH 28", `{"stop_signals":["WINCH","28"]}`},
		{"resolver 10.0.0.1:53", `{"resolver":"10.0.0.1:53"}`},
		{"resolver [::1]:53", `{"resolver":"[::1]:53"}`},
		{"refresh 100ms", `{"refresh":100000000}`},
		{"hold 1m30s", `{"hold":90000000000}`},
		{"terminating_timeout 1d", `{"terminating_timeout":86400000000000}`},
		{"docker_host tcp://a:1\nrestart_unhealthy true", `{"docker_host":"tcp://a:1","restart_unhealthy":30000000000}`},
		{"docker_host tcp://a:1\nrestart_unhealthy 2m", `{"docker_host":"tcp://a:1","restart_unhealthy":120000000000}`},
		{"restart_unhealthy false", `{}`},
		{"restart_unhealthy true\ndocker_host tcp://a:1", `{"docker_host":"tcp://a:1","restart_unhealthy":30000000000}`},
		{"docker_host tcp://a:1\nswarm", `{"docker_host":"tcp://a:1","swarm":true}`},
		{"swarm true\ndocker_host tcp://a:1", `{"docker_host":"tcp://a:1","swarm":true}`},
		{"swarm false", `{}`},
		{"kubernetes", `{"kubernetes":true}`},
		{`swarm ""`, `{}`},
		{"max_held 5", `{"max_held":5}`},
		{"static api:3000 127.0.0.1:3001 [::1]:3002", `{"static":{"api:3000":["127.0.0.1:3001","[::1]:3002"]}}`},
		{"static api:3000 127.0.0.1:1\nstatic api:3001 127.0.0.1:1", `{"static":{"api:3000":["127.0.0.1:1"],"api:3001":["127.0.0.1:1"]}}`},
		// an empty value, as an unset environment variable leaves it, is the default
		{`docker_host ""` + "\n" + `project ""` + "\n" + `network ""` + "\n" + `resolver ""` + "\n" + `refresh ""` + "\n" + `hold ""` + "\n" +
			`max_held ""` + "\n" + `stop_signals ""` + "\n" + `restart_unhealthy ""` + "\n" + `terminating_timeout ""`, `{}`},
		{`network "" front`, `{"networks":["front"]}`},
		// the names of earlier versions
		{"endpoint tcp://docker-guard:2375\ndrain_timeout 30s", `{"docker_host":"tcp://docker-guard:2375","terminating_timeout":30000000000}`},
	} {
		got, err := adapt(t, "edge {\n"+c.block+"\n}")
		if err != nil {
			t.Errorf("%s: %v", c.block, err)
			continue
		}
		if !equalJSON(t, got, c.want) {
			t.Errorf("%s: got %s, want %s", c.block, got, c.want)
		}
	}
	if got, err := adapt(t, "edge"); err != nil || got != "{}" {
		t.Errorf("without a block: %s %v", got, err)
	}
	if got, err := adapt(t, ""); err != nil || got != "" {
		t.Errorf("without the option: %s %v", got, err)
	}
}

func TestProjectAndProjectsExcludeEachOther(t *testing.T) {
	if _, err := adapt(t, "edge {\n project shop\n projects shop blog\n}"); err == nil || !strings.Contains(err.Error(), "give project or projects, not both") {
		t.Errorf("got %v", err)
	}
}

func TestGlobalOptionErrorsNameTheirLine(t *testing.T) {
	for _, c := range []struct{ line, want string }{
		{"endpoints tcp://x:1", `unknown option "endpoints"; there are docker_host,`},
		{"Hold 5s", `unknown option "Hold"`},
		{"docker_host docker-guard:2375", `docker_host "docker-guard:2375": want`},
		{"docker_host docker-guard", `docker_host "docker-guard": want unix:///var/run/docker.sock or tcp://HOST:PORT`},
		{"docker_host http://docker-guard:2375", `docker_host "http://docker-guard:2375": want`},
		{"docker_host npipe:////./pipe/docker_engine", `want a unix:// or tcp:// address`},
		{"docker_host tcp://", `docker_host "tcp://": want`},
		{"docker_host unix://", `docker_host "unix://": want`},
		{"docker_host", "argument count"},
		{"docker_host tcp://a:1 tcp://b:1", "argument count"},
		{"project", "argument count"},
		{"projects", "argument count"},
		{"projects any shop", "name no other project beside any"},
		{"network", "argument count"},
		{"stop_signals", "argument count"},
		{"resolver 10.0.0.1", `resolver "10.0.0.1": want ADDRESS:PORT`},
		{"resolver dns:53", `resolver "dns:53": want ADDRESS:PORT`},
		{"refresh 99ms", "the shortest is 100ms"},
		{"refresh 0", `"0": want a positive duration`},
		{"refresh -1s", `"-1s": want a positive duration`},
		{"hold 0s", `"0s": want a positive duration`},
		{"hold -60s", `"-60s": want a positive duration`},
		{"hold 60", `"60": want a positive duration`},
		{"hold soon", `"soon": want a positive duration`},
		{"hold 1s 2s", "argument count"},
		{"swarm", "swarm needs docker_host"},
		{"kubernetes\ndocker_host tcp://a:1", "kubernetes: leave out docker_host"},
		{"kubernetes yes", `kubernetes: "yes": want true or false`},
		{"swarm yes", `swarm: "yes": want true or false`},
		{"swarm true false", "wrong argument count"},
		{"restart_unhealthy yes", `restart_unhealthy: "yes": want true, false, or how long a container must have been unhealthy`},
		{"restart_unhealthy -1s", `restart_unhealthy: "-1s": want true, false`},
		{"terminating_timeout -1d", `"-1d": want a positive duration`},
		{"max_held 0", `"0": want a number above 0`},
		{"max_held -1", `"-1": want a number above 0`},
		{"max_held 1.5", `"1.5": want a number above 0`},
		{"max_held many", `"many": want a number above 0`},
		{"max_held", "argument count"},
		{"max_held 1 2", "argument count"},
		{"static", "want a service and at least one address"},
		{"static api:3000", "want a service and at least one address"},
		{"static api 127.0.0.1:3001", `service "api": want NAME:PORT`},
		{"static api:0 127.0.0.1:3001", `the port must be a number from 1 to 65535`},
		{"static api:70000 127.0.0.1:3001", `the port must be a number from 1 to 65535`},
		{"static API:3000 127.0.0.1:3001", `write "api:3000"`},
		{"static api:3000 127.0.0.1:0", `"127.0.0.1:0": want ADDRESS:PORT`},
		{"static api:3000 127.0.0.1", `"127.0.0.1": want ADDRESS:PORT`},
		{"static api:3000 localhost:3001", `"localhost:3001": want ADDRESS:PORT`},
		{`static api:3000 ""`, `"": want ADDRESS:PORT`},
		{"static api:3000 127.0.0.1:1 127.0.0.1:1", "127.0.0.1:1 is listed twice"},
		{"static twice:1 127.0.0.1:1", "twice:1 is given twice"},
	} {
		_, err := adapt(t, "edge {\n\tstatic twice:1 127.0.0.1:1\n\t"+c.line+"\n\tproject shop\n}")
		if err == nil || !strings.Contains(err.Error(), c.want) || !strings.Contains(err.Error(), "Caddyfile:4") {
			t.Errorf("%s: got %v, want %q at line 4", c.line, err, c.want)
		}
	}
	for _, c := range []struct{ options, want, line string }{
		{"edge on {\n}", "argument count", "Caddyfile:2"},
		{"edge {\nswarm\nrestart_unhealthy true\ndocker_host tcp://a:1\n}", "leave it out with swarm", "Caddyfile:4"},
		{"edge {\n}\nedge {\n}", "put everything into one block", "Caddyfile:4"},
		{"edge {\nendpoint tcp://a:1\ndocker_host tcp://a:1\n}", "edge: endpoint is the old name of docker_host; give docker_host only", "Caddyfile:4"},
		{"edge {\ndocker_host tcp://a:1\nendpoint tcp://a:1\n}", "edge: endpoint is the old name of docker_host; give docker_host only", "Caddyfile:4"},
		{"edge {\ndrain_timeout 1s\nterminating_timeout 1s\n}", "edge: drain_timeout is the old name of terminating_timeout", "Caddyfile:4"},
		{"edge {\nterminating_timeout 1s\ndrain_timeout 1s\n}", "edge: drain_timeout is the old name of terminating_timeout", "Caddyfile:4"},
	} {
		if _, err := adapt(t, c.options); err == nil || !strings.Contains(err.Error(), c.want) || !strings.Contains(err.Error(), c.line) {
			t.Errorf("%q: got %v, want %q at %s", c.options, err, c.want, c.line)
		}
	}
}
