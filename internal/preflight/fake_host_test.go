package preflight

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/theworklabs/edge/internal/compose"
)

// fakeHost is a fake of the docker command and of this machine, with a healthy stack. Tests break one part of it.
type fakeHost struct {
	services      map[string]any
	networks      map[string]any
	volumes       map[string]any
	configs       map[string]any
	backup        jsonObject // x-edge-backup
	adaptedConfig string

	composeErr      error
	composeWarnings string            // what `docker compose config` prints to stderr
	dockerOutputs   map[string]string // by the first words of a docker command
	dockerErrors    map[string]error  // likewise
	listenErrors    map[string]error  // by address
	dnsRecords      map[string][]string
	dnsErr          error
	localAddresses  []string
	authorityTime   time.Time // the authority's clock; zero if the authority is unreachable
	now             time.Time
	commands        []string
	otherProjects   map[string]jsonObject // what `docker compose config` prints for a directory, or a file
}

// jsonObject is a JSON object.
type jsonObject = map[string]any

// newFakeHost returns a host with a healthy stack: an edge, its guard and one application.
func newFakeHost(t *testing.T) *fakeHost {
	file := filepath.Join(t.TempDir(), "Caddyfile")
	if err := os.WriteFile(file, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	now := minClock.Add(time.Hour)
	return &fakeHost{
		services: jsonObject{
			"edge": jsonObject{
				"image": "edge:dev", "build": jsonObject{"context": "."}, "user": "1000:1000",
				"environment": jsonObject{"DOMAIN": "example.com"},
				"networks":    jsonObject{"web": nil, "guard": nil},
				"labels":      jsonObject{"edge.backup": "files", "edge.backup.app": "edge"},
				"ports":       []jsonObject{{"target": 443, "published": "443", "protocol": "tcp"}},
				"volumes": []jsonObject{
					{"type": "volume", "source": "edge_data", "target": "/data"},
					{"type": "bind", "source": file, "target": edgeConfigPath, "read_only": true},
				},
			},
			"docker-guard": jsonObject{
				"image": "edge:dev", "networks": jsonObject{"guard": nil},
				"volumes": []jsonObject{{"type": "bind", "source": file, "target": "/var/run/docker.sock"}},
			},
			"app": jsonObject{
				"image": "example/app:1.2", "expose": []string{"3000"}, "networks": jsonObject{"web": nil},
				"environment": jsonObject{"DB_PASSWORD": "0123456789abcdef"},
			},
		},
		networks: jsonObject{"web": jsonObject{"name": "shop_web"}, "guard": jsonObject{"name": "shop_guard", "internal": true}},
		volumes:  jsonObject{"edge_data": jsonObject{"name": "shop_edge_data"}},
		adaptedConfig: `{"apps": {
			"edge": {"docker_host": "tcp://docker-guard:2375", "static": {"fixed:80": ["127.0.0.1:80"]}},
			"http": {"servers": {"s": {"routes": [{"match": [{"host": ["Shop.Example.com"]}], "handle": [
				{"handler": "reverse_proxy", "transport": {"protocol": "edge", "service": "app:3000"}, "upstreams": [{"dial": "app:3000"}]}
			]}]}}}
		}}`,
		dockerOutputs: map[string]string{
			"version": "29.1.0\n", "volume ls": "other\nshop_edge_data\n", "compose ps": "0123\n",
			"compose exec": `{"findings": [{"check": "guard", "level": "ok", "message": "refuses"}, {"check": "storage", "level": "ok", "message": "kept"}]}`,
		},
		dockerErrors: make(map[string]error), listenErrors: make(map[string]error),
		dnsRecords: map[string][]string{"shop.example.com": {"203.0.113.7"}}, localAddresses: []string{"203.0.113.7", "172.17.0.1"},
		authorityTime: now, now: now,
	}
}

// Run implements [compose.Docker].
func (w *fakeHost) Run(_ context.Context, args ...string) (string, string, error) {
	line := strings.Join(args, " ")
	w.commands = append(w.commands, line)
	if flag, path := args[min(1, len(args)-1)], args[min(2, len(args)-1)]; strings.Contains(line, "config --format json") && (flag == "--project-directory" || flag == "--project-name") {
		return w.otherConfig(path)
	}
	if strings.Contains(line, "config --format json") {
		services := make(jsonObject)
		for name, s := range w.services {
			if profiles, has := s.(jsonObject)["profiles"]; !has || strings.Contains(line, "--profile *") || strings.Contains(line, "--profile "+profiles.([]string)[0]) {
				services[name] = s
			}
		}
		text, err := json.Marshal(jsonObject{"name": "shop", "services": services, "networks": w.networks, "volumes": w.volumes, "configs": w.configs, "x-edge-backup": w.backup})
		return string(text), w.composeWarnings, errors.Join(err, w.composeErr)
	}
	for start, err := range w.dockerErrors {
		if strings.HasPrefix(line, start) {
			return "", "", err
		}
	}
	for start, answer := range w.dockerOutputs {
		if strings.HasPrefix(line, start) {
			return answer, "", nil
		}
	}
	if strings.HasPrefix(line, "ps ") {
		return "", "", nil
	}
	return "", "", fmt.Errorf("docker %s: unknown command", line)
}

// otherConfig returns what `docker compose config` prints for another project.
func (w *fakeHost) otherConfig(project string) (string, string, error) {
	if w.otherProjects[project] == nil {
		return "", "", errors.New("no configuration file provided: not found")
	}
	text, err := json.Marshal(w.otherProjects[project])
	return string(text), "", err
}

// newCheck returns a check of the host's stack.
func (w *fakeHost) newCheck(t *testing.T) *Check {
	t.Helper()
	ca := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, _ *http.Request) {
		rw.Header().Set("Date", w.authorityTime.UTC().Format(http.TimeFormat))
	}))
	t.Cleanup(ca.Close)
	c := New(w, compose.Project{}, "edge")
	c.Adapt = func(context.Context, string, []string) ([]byte, error) { return []byte(w.adaptedConfig), nil }
	c.Validate = func(context.Context, []byte, []string) error { return nil }
	c.Client.Transport = &http.Transport{DialContext: func(ctx context.Context, network, _ string) (net.Conn, error) {
		if w.authorityTime.IsZero() {
			return nil, errors.New("no route to host")
		}
		return new(net.Dialer).DialContext(ctx, network, ca.Listener.Addr().String())
	}}
	w.adaptedConfig = strings.Replace(w.adaptedConfig, `"apps": {`, `"apps": {"tls": {"automation": {"policies": [{"issuers": [{"module": "acme", "ca": "http://ca.example/dir"}]}]}},`, 1)
	c.LookupIP = func(_ context.Context, host string) (all []netip.Addr, err error) {
		for _, text := range w.dnsRecords[host] {
			all = append(all, netip.MustParseAddr(text))
		}
		if len(all) == 0 && w.dnsErr == nil {
			return nil, &net.DNSError{Err: "no such host", Name: host, IsNotFound: true}
		}
		return all, w.dnsErr
	}
	c.LocalAddresses = func() (all []netip.Addr, err error) {
		for _, text := range w.localAddresses {
			all = append(all, netip.MustParseAddr(text))
		}
		return all, nil
	}
	c.TryListen = func(_, address string) error { return w.listenErrors[address] }
	c.Now = func() time.Time { return w.now }
	return c
}

// service returns a service of the compose file. The test can change it.
func (w *fakeHost) service(name string) jsonObject { return w.services[name].(jsonObject) }
