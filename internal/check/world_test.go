package check

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

// world stands in for docker, Compose and this machine. Everything in it is well, until a test breaks something.
type world struct {
	services map[string]any
	networks map[string]any
	volumes  map[string]any
	configs  map[string]any
	adapted  string

	composeErr error
	warnings   string            // what Compose prints beside the configuration
	answers    map[string]string // by the beginning of a docker command
	fails      map[string]error  // likewise
	ports      map[string]error  // by port: what listening says
	lookups    map[string][]string
	lookupErr  error
	own        []string
	date       time.Time // by the authority
	now        time.Time
	seen       []string
}

// dict is an object of JSON.
type dict = map[string]any

func newWorld(t *testing.T) *world {
	file := filepath.Join(t.TempDir(), "Caddyfile")
	if err := os.WriteFile(file, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	now := made.Add(time.Hour)
	return &world{
		services: dict{
			"edge": dict{
				"image": "edge:dev", "build": dict{"context": "."}, "user": "1000:1000",
				"environment": dict{"DOMAIN": "example.com"},
				"networks":    dict{"web": nil, "guard": nil},
				"ports":       []dict{{"target": 443, "published": "443", "protocol": "tcp"}},
				"volumes": []dict{
					{"type": "volume", "source": "edge_data", "target": "/data"},
					{"type": "bind", "source": file, "target": shippedConfig, "read_only": true},
				},
			},
			"docker-guard": dict{
				"image": "edge:dev", "networks": dict{"guard": nil},
				"volumes": []dict{{"type": "bind", "source": file, "target": "/var/run/docker.sock"}},
			},
			"app": dict{
				"image": "example/app:1.2", "expose": []string{"3000"}, "networks": dict{"web": nil},
				"environment": dict{"DB_PASSWORD": "0123456789abcdef"},
			},
		},
		networks: dict{"web": dict{"name": "shop_web"}, "guard": dict{"name": "shop_guard", "internal": true}},
		volumes:  dict{"edge_data": dict{"name": "shop_edge_data"}},
		adapted: `{"apps": {
			"edge": {"endpoint": "tcp://docker-guard:2375", "static": {"fixed:80": ["127.0.0.1:80"]}},
			"http": {"servers": {"s": {"routes": [{"match": [{"host": ["Shop.Example.com"]}], "handle": [
				{"handler": "reverse_proxy", "transport": {"protocol": "edge", "service": "app:3000"}, "upstreams": [{"dial": "app:3000"}]}
			]}]}}}
		}}`,
		answers: map[string]string{
			"version": "29.1.0\n", "volume ls": "other\nshop_edge_data\n", "compose ps": "0123\n",
			"compose exec": `{"findings": [{"check": "guard", "level": "ok", "message": "refuses"}, {"check": "storage", "level": "ok", "message": "kept"}]}`,
		},
		fails: make(map[string]error), ports: make(map[string]error),
		lookups: map[string][]string{"shop.example.com": {"203.0.113.7"}}, own: []string{"203.0.113.7", "172.17.0.1"},
		date: now, now: now,
	}
}

// Run implements compose.Docker.
func (w *world) Run(_ context.Context, args ...string) (string, string, error) {
	line := strings.Join(args, " ")
	w.seen = append(w.seen, line)
	if strings.Contains(line, "config --format json") {
		services := make(dict)
		for name, s := range w.services {
			if profiles, has := s.(dict)["profiles"]; !has || strings.Contains(line, "--profile *") || strings.Contains(line, "--profile "+profiles.([]string)[0]) {
				services[name] = s
			}
		}
		text, err := json.Marshal(dict{"name": "shop", "services": services, "networks": w.networks, "volumes": w.volumes, "configs": w.configs})
		return string(text), w.warnings, errors.Join(err, w.composeErr)
	}
	for start, err := range w.fails {
		if strings.HasPrefix(line, start) {
			return "", "", err
		}
	}
	for start, answer := range w.answers {
		if strings.HasPrefix(line, start) {
			return answer, "", nil
		}
	}
	if strings.HasPrefix(line, "ps ") {
		return "", "", nil
	}
	return "", "", fmt.Errorf("docker %s: nothing is known of it", line)
}

func (w *world) check(t *testing.T) *Check {
	t.Helper()
	ca := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, _ *http.Request) {
		rw.Header().Set("Date", w.date.UTC().Format(http.TimeFormat))
	}))
	t.Cleanup(ca.Close)
	c := New(w, compose.Project{}, "edge")
	c.Adapt = func(context.Context, string, []string) ([]byte, error) { return []byte(w.adapted), nil }
	c.Validate = func(context.Context, []byte, []string) error { return nil }
	c.Client.Transport = &http.Transport{DialContext: func(ctx context.Context, network, _ string) (net.Conn, error) {
		if w.date.IsZero() {
			return nil, errors.New("no route to host")
		}
		return new(net.Dialer).DialContext(ctx, network, ca.Listener.Addr().String())
	}}
	w.adapted = strings.Replace(w.adapted, `"apps": {`, `"apps": {"tls": {"automation": {"policies": [{"issuers": [{"module": "acme", "ca": "http://ca.example/dir"}]}]}},`, 1)
	c.LookUp = func(_ context.Context, host string) (all []netip.Addr, err error) {
		for _, text := range w.lookups[host] {
			all = append(all, netip.MustParseAddr(text))
		}
		if len(all) == 0 && w.lookupErr == nil {
			return nil, &net.DNSError{Err: "no such host", Name: host, IsNotFound: true}
		}
		return all, w.lookupErr
	}
	c.Addresses = func() (all []netip.Addr, err error) {
		for _, text := range w.own {
			all = append(all, netip.MustParseAddr(text))
		}
		return all, nil
	}
	c.Listen = func(_, address string) error { return w.ports[address] }
	c.Now = func() time.Time { return w.now }
	return c
}

// service returns a service of the world, to be changed.
func (w *world) service(name string) dict { return w.services[name].(dict) }
