package tests

import (
	"encoding/json"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/theworklabs/edge/internal/preflight"
	"github.com/theworklabs/edge/tests/harness"
)

// check runs `edge check` on a project and returns its report.
func (p *project) check(t *testing.T, flags ...string) preflight.Report {
	t.Helper()
	cmd := exec.Command(harness.Edge(t), append(append([]string{"check", "--json"}, p.FileArgs()...), flags...)...)
	cmd.Env = p.Environ()
	out, err := cmd.Output()
	var report preflight.Report
	if jsonErr := json.Unmarshal(out, &report); jsonErr != nil {
		t.Fatalf("edge check: %v, %v in %q", err, jsonErr, out)
	}
	if (err != nil) != (report.Errors > 0) {
		t.Errorf("the exit status does not fit %d errors: %v", report.Errors, err)
	}
	return report
}

func logReport(t *testing.T, report preflight.Report) {
	t.Helper()
	var text strings.Builder
	if err := report.Print(&text); err != nil {
		t.Error(err)
	}
	t.Logf("edge check:\n%s", &text)
}

// TestShippedStackPassesEveryCheck checks the running stack, with the checks of the socket proxy and the storage from within the
// edge's container.
func TestShippedStackPassesEveryCheck(t *testing.T) {
	p := readyStack(t)
	report := p.check(t)
	logReport(t, report)
	if report.Errors+report.Warnings > 0 {
		t.Errorf("%d errors, %d warnings", report.Errors, report.Warnings)
	}
	seen := make(map[string]bool)
	for _, f := range report.Findings {
		seen[f.Check] = true
	}
	for _, kind := range []string{"compose file", "secret", "engine", "file", "configuration", "route", "domain", "port", "image", "volume", "guard", "storage", "clock"} {
		if !seen[kind] {
			t.Errorf("there is no finding about %s", kind)
		}
	}
}

// TestCheckNamesEachFaultOfABrokenStack checks the shipped stack with one fault at a time.
func TestCheckNamesEachFaultOfABrokenStack(t *testing.T) {
	inUse, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { inUse.Close() }) // runs after the parallel subtests
	shippedConfig, err := os.ReadFile("../Caddyfile")
	if err != nil {
		t.Fatal(err)
	}
	const anyRoute = "edge_proxy corteza-docs:80"
	for _, c := range []struct {
		name       string
		env        []string
		overlay    string // a second compose file
		config     [2]string
		check      string
		level      preflight.Level
		want, hint string
	}{
		{
			name: "a secret is missing", env: []string{"BIGCAPITAL_JWT_SECRET="},
			check: "secret", level: preflight.Error, want: "BIGCAPITAL_JWT_SECRET is missing a value", hint: "edge init",
		},
		{
			name: "a published secret", env: []string{"BIGCAPITAL_JWT_SECRET=123123"},
			check: "secret", level: preflight.Error, want: `bigcapital-server: APP_JWT_SECRET is "123123", which is publicly known`, hint: "openssl rand",
		},
		{
			name: "a secret that the application would generate", overlay: "services: {corteza-server: {environment: {AUTH_JWT_SECRET: ''}}}",
			check: "secret", level: preflight.Error, want: "corteza-server: AUTH_JWT_SECRET is empty: Corteza then derives one", hint: "openssl rand",
		},
		{
			name: "a mistake in the Caddyfile", config: [2]string{anyRoute, "edge_porxy corteza-docs:80"},
			check: "configuration", level: preflight.Error, want: "unrecognized directive: edge_porxy", hint: "edge adapt --config",
		},
		{
			name: "a missing file that only provisioning finds", env: []string{"ACME_OPTIONS=acme_ca_root /nowhere/root.pem"},
			check: "configuration", level: preflight.Error, want: "open /nowhere/root.pem: no such file", hint: "edge adapt --config",
		},
		{
			name: "a service that does not exist", config: [2]string{anyRoute, "edge_proxy corteza-dosc:80"},
			check: "route", level: preflight.Error, want: "the compose file has no service corteza-dosc", hint: "there are: bigcapital-gotenberg",
		},
		{
			name: "another port", config: [2]string{anyRoute, "edge_proxy corteza-docs:8080"},
			overlay: "services: {corteza-docs: {image: edge-test/nowhere:1}}", // this machine does not have the image
			check:   "route", level: preflight.Note, want: "corteza-docs exposes 80, and not 8080", hint: "add it to expose",
		},
		{
			name: "no network in common", overlay: "services: {corteza-docs: {networks: !override [data]}}",
			check: "route", level: preflight.Error, want: "corteza-docs and edge have no network in common", hint: "guard, infrastructure_network",
		},
		{
			name: "a service of a profile that is not active", config: [2]string{anyRoute, "edge_proxy bigcapital-mongo:27017"},
			check: "route", level: preflight.Error, want: "bigcapital-mongo is of the profile mongo, which is not in use", hint: "--profile mongo",
		},
		{
			name: "a domain without DNS", env: []string{"DOMAIN=shop.invalid"},
			check: "domain", level: preflight.Error, want: "crm.shop.invalid does not resolve", hint: "an A record",
		},
		{
			name: "a port in use", env: []string{"PUBLISH_HTTPS=" + inUse.Addr().String()},
			check: "port", level: preflight.Error, want: "is taken by another program", hint: "ss -lnp",
		},
		{
			name: "an address of another machine", env: []string{"PUBLISH_HTTPS=192.0.2.1:443"},
			check: "port", level: preflight.Error, want: "this machine has no such address", hint: "PUBLISH_HTTPS",
		},
		{
			name: "a database with a published port", overlay: "services: {corteza-db: {ports: ['5432:5432']}}",
			check: "port", level: preflight.Warning, want: "corteza-db publishes port 5432 (PostgreSQL) on all networks", hint: "take it out",
		},
		{
			name: "an image without a version", overlay: "services: {corteza-docs: {image: cortezaproject/corteza-docs}}",
			check: "image", level: preflight.Warning, want: "can bring another version", hint: "cortezaproject/corteza-docs:1.2.3",
		},
		{
			name: "an external volume that does not exist", overlay: "volumes: {corteza_db: {external: true, name: edge_test_nowhere}}",
			check: "volume", level: preflight.Error, want: "edge_test_nowhere does not exist", hint: "docker volume create edge_test_nowhere",
		},
		{
			name: "an external network that does not exist", overlay: "networks: {infrastructure_network: !override {external: true, name: edge_test_nowhere}}",
			check: "network", level: preflight.Error, want: "the external network edge_test_nowhere of", hint: "docker network create edge_test_nowhere",
		},
		{
			name: "a root certificate that does not exist", env: []string{"ACME_CA=https://ca.test/dir", "ACME_CA_ROOT=/nowhere/root.pem"},
			check: "file", level: preflight.Error, want: "edge: /nowhere/root.pem does not exist", hint: "correct its path in .env",
		},
		{
			name: "the edge has Docker's socket", overlay: "services: {edge: {volumes: ['/var/run/docker.sock:/var/run/docker.sock']}}",
			check: "guard", level: preflight.Error, want: "edge has Docker's socket: an attacker who controls it controls this machine", hint: "edge guard",
		},
		{
			name: "a Docker host that is not a service", overlay: "services: {edge: {environment: {EDGE_DOCKER_HOST: 'tcp://guard:2375'}}}",
			check: "guard", level: preflight.Error, want: "docker_host is tcp://guard:2375, and the compose file has no service guard", hint: "add the service",
		},
		{
			name: "applications reach the guard", overlay: "services: {docker-guard: {networks: [infrastructure_network]}}",
			check: "guard", level: preflight.Warning, want: "corteza-docs reaches docker-guard through the network infrastructure_network", hint: "no other service is on",
		},
		{
			name: "no Docker Engine", env: []string{"DOCKER_HOST=unix:///nowhere/docker.sock"},
			check: "engine", level: preflight.Error, want: "the Docker Engine does not answer", hint: "systemctl start docker",
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			p := unstartedStack(t, dir)
			p.Env = append(p.Env, c.env...)
			if c.overlay != "" {
				p.Files = append(p.Files, writeFile(t, dir, "overlay.yaml", c.overlay))
			}
			var flags []string
			if c.config[0] != "" {
				flags = []string{"--config", writeFile(t, dir, "Caddyfile", strings.Replace(string(shippedConfig), c.config[0], c.config[1], 1))}
			}
			report := p.check(t, flags...)
			for _, f := range report.Findings {
				if f.Check == c.check && f.Level == c.level && strings.Contains(f.Message, c.want) && strings.Contains(f.Hint, c.hint) {
					t.Logf("%s: %s\n  hint: %s", f.Level, f.Message, f.Hint)
					return
				}
			}
			logReport(t, report)
			t.Errorf("want a %s about %s: %s; hint: %s", c.level, c.check, c.want, c.hint)
		})
	}
}

// unstartedStack returns the shipped stack before its first start, with a .env in dir.
func unstartedStack(t *testing.T, dir string) *project {
	t.Helper()
	env := harness.InitEnv(t, dir, "localhost")
	return &project{Project: harness.Project{
		Name: "edgefresh", Files: []string{"../compose.yaml"},
		Env: []string{"COMPOSE_ENV_FILES=" + env, "PUBLISH_HTTP=127.0.0.1:0", "PUBLISH_HTTPS=127.0.0.1:0"},
	}}
}

func writeFile(t *testing.T, dir, name, text string) string {
	t.Helper()
	file := filepath.Join(dir, name)
	if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	return file
}

// TestCheckWorksOffline: without a Docker Engine and without DNS, the check finds nothing wrong with the shipped files.
func TestCheckWorksOffline(t *testing.T) {
	p := unstartedStack(t, t.TempDir())
	p.Env = append(p.Env, "DOCKER_HOST=unix:///nowhere/docker.sock", "DOMAIN=shop.invalid")
	report := p.check(t, "--offline")
	logReport(t, report)
	if report.Errors > 0 || report.Warnings != 1 {
		t.Errorf("%d errors and %d warnings, want only the warning that the Docker Engine cannot be reached", report.Errors, report.Warnings)
	}
	for _, f := range report.Findings {
		if f.Check == "domain" {
			t.Errorf("the check has looked up a name: %+v", f)
		}
	}
}
