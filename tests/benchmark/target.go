package main

import (
	"context"
	"embed"
	"fmt"
	"net"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"text/template"
	"time"

	"github.com/theworklabs/edge/internal/testport"
	"github.com/theworklabs/edge/tests/benchmark/load"
	"github.com/theworklabs/edge/tests/harness"
	"github.com/theworklabs/edge/tests/reliability/lab"
)

//go:embed proxies
var proxies embed.FS

// target is a proxy that takes part.
type target struct {
	name    string
	image   string   // of its container; "": the proxy is not ours
	config  string   // the file in proxies
	more    string   // another file there that config refers to
	command []string // with the configuration as /benchmark/FILE
	version []string // prints its version
	no      []string // versions of HTTP that it does not have here

	http, https, logged, reusing string // HOST:PORT; "": it has none

	isProfiled bool
	admin      string // HOST:PORT, if it is profiled
	pid        int    // of a proxy that is not ours

	container string
}

// labTargets returns the proxies that the benchmark runs itself.
func labTargets() []*target {
	return []*target{
		{
			name: "edge", image: "edge:dev", config: "edge.Caddyfile", version: []string{"edge", "version"},
			command: []string{"edge", "run", "--config", "/benchmark/edge.Caddyfile", "--adapter", "caddyfile"},
		},
		{
			name: "caddy", image: "edge-test/caddy:test", config: "caddy.Caddyfile", version: []string{"caddy", "version"},
			command: []string{"caddy", "run", "--config", "/benchmark/caddy.Caddyfile", "--adapter", "caddyfile"},
		},
		{
			name: "nginx", image: "edge-test/nginx:test", config: "nginx.conf", version: []string{"sh", "-c", "nginx -v 2>&1"},
			command: []string{"nginx", "-g", "daemon off;", "-c", "/benchmark/nginx.conf"}, no: []string{load.HTTP3},
		},
		{
			name: "haproxy", image: "edge-test/haproxy:test", config: "haproxy.cfg", version: []string{"haproxy", "-v"},
			command: []string{"haproxy", "-W", "-db", "-f", "/benchmark/haproxy.cfg"}, no: []string{load.HTTP3},
		},
		{
			name: "traefik", image: "edge-test/traefik:test", config: "traefik.yaml", more: "traefik-routes.yaml", version: []string{"traefik", "version"},
			command: []string{"traefik", "--configFile=/benchmark/traefik.yaml"},
		},
		{ // without experimental.fastProxy
			name: "traefik-standard", image: "edge-test/traefik:test", config: "traefik.yaml", more: "traefik-routes.yaml", version: []string{"traefik", "version"},
			command: []string{"traefik", "--configFile=/benchmark/traefik-standard.yaml"},
		},
	}
}

// parseTarget parses NAME=PID,http://HOST:PORT[,https://HOST:PORT].
func parseTarget(text string) (*target, error) {
	mistake := func() error {
		return fmt.Errorf("target %q: want NAME=PID,http://HOST:PORT[,https://HOST:PORT]", text)
	}
	name, rest, found := strings.Cut(text, "=")
	parts := strings.Split(rest, ",")
	if !found || name == "" || len(parts) < 2 {
		return nil, mistake()
	}
	pid, err := strconv.Atoi(parts[0])
	if err != nil || pid <= 0 {
		return nil, mistake()
	}
	t := &target{name: name, pid: pid}
	for _, part := range parts[1:] {
		u, err := url.Parse(part)
		if err != nil || u.Port() == "" {
			return nil, mistake()
		}
		switch u.Scheme {
		case "http":
			t.http = u.Host
		case "https":
			t.https = u.Host
		default:
			return nil, mistake()
		}
	}
	return t, nil
}

// has reports whether the proxy has a version of HTTP.
func (t *target) has(version string) bool {
	if t.image == "" && version == load.HTTP3 || version != load.HTTP1 && t.https == "" {
		return false
	}
	return !slices.Contains(t.no, version)
}

// address returns where the proxy has a version of HTTP.
func (t *target) address(version string) string {
	if version == load.HTTP1 {
		return t.http
	}
	return t.https
}

// start starts a proxy of ours in front of some endpoints, and waits until it responds.
func (t *target) start(ctx context.Context, dir string, endpoints []string) error {
	if t.image == "" {
		return nil
	}
	if err := t.stop(ctx); err != nil {
		return err
	}
	if t.http == "" {
		for _, address := range []*string{&t.http, &t.https, &t.logged, &t.reusing, &t.admin} {
			port, err := testport.Reserve()
			if err != nil {
				return err
			}
			*address = net.JoinHostPort("127.0.0.1", port)
		}
	}
	for _, name := range []string{t.config, t.more} {
		if name == "" {
			continue
		}
		if err := t.writeConfig(filepath.Join(dir, strings.Replace(name, "traefik", t.name, 1)), name, endpoints); err != nil {
			return err
		}
	}
	args := append([]string{
		"run", "--detach", "--network", "host", "--no-healthcheck", "--volume", dir + ":/benchmark:ro",
		"--entrypoint", t.command[0], t.image,
	}, t.command[1:]...)
	out, err := harness.RunDocker(ctx, args...)
	if err != nil {
		return err
	}
	t.container = out
	err = harness.EventuallyContext(ctx, 30*time.Second, t.name+" responds", func() bool {
		for _, version := range []string{load.HTTP1, load.HTTP1TLS} {
			c, err := load.Open(ctx, t.request(version, "GET", 1, 0), 1)
			if err != nil {
				return false
			}
			c.Close()
		}
		return true
	})
	if err != nil {
		logs, _ := exec.CommandContext(ctx, "docker", "logs", "--tail", "20", t.container).CombinedOutput()
		return fmt.Errorf("%w\n%s", err, logs)
	}
	return nil
}

// writeConfig fills the template of a configuration.
func (t *target) writeConfig(file, name string, endpoints []string) error {
	text, err := template.ParseFS(proxies, "proxies/"+name)
	if err != nil {
		return err
	}
	port := func(address string) string {
		_, p, _ := net.SplitHostPort(address)
		return p
	}
	f, err := os.OpenFile(file, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	defer f.Close()
	admin := ""
	if t.isProfiled {
		admin = t.admin
	}
	return text.Execute(f, map[string]any{
		"Name": t.name, "HTTP": port(t.http), "HTTPS": port(t.https), "Logged": port(t.logged), "Reusing": port(t.reusing), "Admin": admin, "Endpoints": endpoints,
	})
}

// stop removes the container.
func (t *target) stop(ctx context.Context) error {
	if t.container == "" {
		return nil
	}
	_, err := harness.RunDocker(ctx, "rm", "--force", "--volumes", t.container)
	t.container = ""
	return err
}

// request returns a request for some bytes.
func (t *target) request(version, method string, response, body int) load.Request {
	return load.Request{Version: version, Address: t.address(version), Method: method, Path: fmt.Sprintf("%s?n=%d", bytesPath, response), Body: body}
}

// processes returns the proxy's processes.
func (t *target) processes(ctx context.Context) ([]string, error) {
	if t.image == "" {
		return []string{strconv.Itoa(t.pid)}, nil
	}
	return lab.Processes(ctx, t.container)
}

// describe returns the name and the version.
func (t *target) describe(ctx context.Context) string {
	if t.image == "" {
		return t.name
	}
	args := append([]string{"run", "--rm", "--entrypoint", t.version[0], t.image}, t.version[1:]...)
	out, err := harness.RunDocker(ctx, args...)
	if err != nil {
		return t.name
	}
	line, _, _ := strings.Cut(strings.TrimSpace(out), "\n")
	return t.name + ": " + line
}
