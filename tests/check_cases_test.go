package tests

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/theworklabs/edge/internal/preflight"
	"github.com/theworklabs/edge/tests/harness"
)

// The files of most cases: an edge for app:3000. They publish ports on an address of loopback that nothing else uses.
const (
	appCaddyfile = `
http:// {
	health
	edge_proxy app:3000
}
`
	edgeServiceYAML = `
  edge:
    image: edge:1.0.0
    ports: ["127.83.0.1:17000:80"]
    volumes: ["./Caddyfile:/etc/edge/Caddyfile:ro"]
`
	appServiceYAML = `
  app:
    image: example/app:1.2
    expose: ["3000"]
`
)

// checkCase is a stack, given as the files of a directory, and a finding of `edge check --offline` on it. Compose resolves the
// files.
type checkCase struct {
	name  string
	files map[string]string // a Caddyfile is added
	flags []string
	// want is one finding: LEVEL CHECK: TEXT. There may also be notes, but no other error and no other warning, except that the
	// Docker Engine cannot be reached, and those of the check that allowed names.
	want    string
	allowed string
	engine  bool // the check may use the Docker Engine of this machine
}

// TestCheckUnderstandsComposeSyntax has each element of the Compose syntax that matters, correct and with a fault.
func TestCheckUnderstandsComposeSyntax(t *testing.T) {
	const services = "services:" + edgeServiceYAML + appServiceYAML
	runCheckCases(t, []checkCase{
		{name: "name is missing", files: map[string]string{"compose.yaml": services}, want: "ok compose file: project stack (services: 2)"},
		{name: "name", files: map[string]string{"compose.yaml": "name: shop\n" + services}, want: "ok compose file: project shop (services: 2)"},
		{
			name: "include",
			files: map[string]string{
				"compose.yaml":      "include: [apps/compose.yaml]\nservices:" + edgeServiceYAML,
				"apps/compose.yaml": "services:" + appServiceYAML + `    volumes: ["./conf:/conf"]`,
				"apps/conf/x":       "",
			},
			want: "ok route: app:3000: app exposes it on default",
		},
		{
			name: "include, and both files publish a port",
			files: map[string]string{
				"compose.yaml":      "include: [apps/compose.yaml]\nservices:" + edgeServiceYAML,
				"apps/compose.yaml": "services:" + appServiceYAML + `    ports: ["127.83.0.1:17000:80"]`,
			},
			want: "error port: app and edge both publish port 127.83.0.1:17000",
		},
		{
			name: "extends",
			files: map[string]string{
				"compose.yaml": "services:" + edgeServiceYAML + "  app:\n    extends: {file: common.yaml, service: base}\n",
				"common.yaml":  "services:\n  base:\n    image: example/app:1.2\n    expose: [3000]\n",
			},
			want: "ok route: app:3000: app exposes it on default",
		},
		{
			name: "extends a service without a password",
			files: map[string]string{
				"compose.yaml": services + "  db:\n    extends: {file: common.yaml, service: base}\n",
				"common.yaml":  "services:\n  base:\n    image: postgres:16\n    environment: {POSTGRES_PASSWORD: ''}\n",
			},
			want: "error secret: db: POSTGRES_PASSWORD is empty",
		},
		{
			name:  "a profile that is in use",
			files: map[string]string{"compose.yaml": services + "    profiles: [web]\n"},
			flags: []string{"--profile", "web"},
			want:  "ok route: app:3000: app exposes it on default",
		},
		{
			name:  "a profile that is not in use",
			files: map[string]string{"compose.yaml": services + "    profiles: [web]\n"},
			want:  "error route: app:3000: app is of the profile web, which is not in use",
		},
		{
			name: "two profiles for one port",
			files: map[string]string{"compose.yaml": services + `
  old-proxy:
    image: nginx:1.27
    profiles: [old]
    ports: ["127.83.0.1:17000:80"]
`},
			want: "ok port: TCP port 127.83.0.1:17000 is free",
		},
		{
			name: "anchors",
			files: map[string]string{"compose.yaml": `
x-app: &app
  image: example/app:1.2
  expose: ["3000"]
  environment: &environment {DB_PASSWORD: 9f86d081884c7d659a2feaa0c55ad015}
services:` + edgeServiceYAML + `
  app:
    <<: *app
    environment: {<<: *environment, PORT: "3000"}
`},
			want: "ok secret: all are set, and none is publicly known (secrets: 1)",
		},
		{
			name: "an anchor with a published secret",
			files: map[string]string{"compose.yaml": "x-environment: &environment {JWT_SECRET: b0JDZW56RnV6aEthb0RGPXVEcUI}\n" + services +
				"    environment: *environment\n"},
			want: `error secret: app: JWT_SECRET is "b0JDZW56RnV6aEthb0RGPXVEcUI", which is publicly known`,
		},
		{
			name: "services that are only built",
			files: map[string]string{
				"compose.yaml": "services:" + edgeServiceYAML + "  app:\n    build: .\n    expose: ['3000']\n",
				"Dockerfile":   "FROM scratch\n",
			},
			want: "ok image: every service names a version",
		},
		{
			name: "short and long ports",
			files: map[string]string{"compose.yaml": services + `
    ports:
      - "127.83.0.1:17001:3000/tcp"
      - {target: 3000, published: 17002, host_ip: 127.83.0.1, protocol: tcp, mode: host}
`},
			want: "ok port: TCP port 127.83.0.1:17000 is free",
		},
		{
			name: "the same port in short and long syntax",
			files: map[string]string{"compose.yaml": services + `
    ports:
      - {target: 3000, published: "17000", host_ip: 127.83.0.1}
`},
			want: "error port: app and edge both publish port 127.83.0.1:17000",
		},
		{
			name:  "a port without a host port",
			files: map[string]string{"compose.yaml": services + "    ports: ['8000']\n"},
			want:  "warning port: app publishes port 8000 (on a host port that Docker chooses): clients can bypass the edge",
		},
		{
			name:  "UDP ports of a call server",
			files: map[string]string{"compose.yaml": services + "    ports: ['127.83.0.1:17003:10000/udp', '17100-17110:17100-17110/udp']\n"},
			want:  "ok port: TCP port 127.83.0.1:17000 is free",
		},
		{
			name:  "a range of ports",
			files: map[string]string{"compose.yaml": services + "    ports: ['127.83.0.1:17010-17012:3000-3002']\n    scale: 1\n"},
			want:  "ok route: app:3000: app exposes it on default",
		},
		{
			name: "a range with a port of another service",
			files: map[string]string{"compose.yaml": services + "    ports: ['127.83.0.1:17010-17012:3000-3002']\n" +
				"  other:\n    image: example/other:1.2\n    ports: ['127.83.0.1:17011:80']\n"},
			want: "error port: app and other both publish port 127.83.0.1:17011",
		},
		{
			name:  "a range of exposed ports",
			files: map[string]string{"compose.yaml": "services:" + edgeServiceYAML + "  app:\n    image: example/app:1.2\n    expose: ['2999-3001']\n"},
			want:  "ok route: app:3000: app exposes it on default",
		},
		{
			name:  "the edge on the host's network",
			files: map[string]string{"compose.yaml": "services:" + strings.Replace(edgeServiceYAML, `ports: ["127.83.0.1:17000:80"]`, "network_mode: host", 1) + appServiceYAML},
			want:  "ok route: app:3000: app exposes it on the host's networks",
		},
		{
			name: "the edge on the host's network, and another service publishes its port",
			files: map[string]string{"compose.yaml": "services:" + strings.Replace(edgeServiceYAML, `ports: ["127.83.0.1:17000:80"]`, "network_mode: host", 1) + appServiceYAML +
				"    ports: ['127.83.0.1:80:3000']\n"},
			want: "error port: app and edge both publish port",
		},
		{
			name:  "a service on the host's network",
			files: map[string]string{"compose.yaml": services + "    network_mode: host\n"},
			want:  "error route: app:3000: app has network_mode host, and so no address for the edge",
		},
		{
			name:   "an external network that does not exist",
			files:  map[string]string{"compose.yaml": services + "networks: {default: {external: true, name: edge-test-nowhere}}\n"},
			engine: true, allowed: "edge",
			want: "error network: the external network edge-test-nowhere of app does not exist",
		},
		{
			name:   "an external network that exists",
			files:  map[string]string{"compose.yaml": services + "networks: {default: {external: true, name: bridge}}\n"},
			engine: true, allowed: "edge",
			want: "ok network: all external networks exist (networks: 1)",
		},
		{
			name:  "aliases",
			files: map[string]string{"compose.yaml": "services:" + edgeServiceYAML + strings.Replace(appServiceYAML, "app:", "server:", 1) + "    networks: {default: {aliases: [App]}}\n"},
			want:  "ok route: app:3000: server exposes it on default",
		},
		{
			name:  "several replicas",
			files: map[string]string{"compose.yaml": services + "    deploy: {replicas: 3}\n    ports: ['127.83.0.1:17020-17029:3000']\n"},
			want:  "ok route: app:3000: app exposes it on default",
		},
		{
			name:  "several replicas for one port",
			files: map[string]string{"compose.yaml": services + "    scale: 3\n    ports: ['127.83.0.1:17004:3000']\n"},
			want:  "error port: app has 3 replicas and publishes port 127.83.0.1:17004: only 1 can start",
		},
		{
			name: ".env with quotes, # and $",
			files: map[string]string{
				"compose.yaml": services + "    environment: {DB_PASSWORD: $DB_PASSWORD, API_TOKEN: $API_TOKEN, HASH: $HASH}\n",
				".env":         "DB_PASSWORD=\"9f86d#081884c7d659\" # of the database\nAPI_TOKEN=9f86d#081884c7d659 # after a space\nHASH='$2a$14$abc'\n",
			},
			want: "ok secret: all are set, and none is publicly known (secrets: 2)",
		},
		{
			name: ".env with a published secret in quotes",
			files: map[string]string{
				"compose.yaml": services + "    environment: {DB_PASSWORD: $DB_PASSWORD}\n",
				".env":         "DB_PASSWORD='changeme' # later\n",
			},
			want: `error secret: app: DB_PASSWORD is "changeme", which is publicly known`,
		},
		{
			name: ".env with a $ that begins a variable",
			files: map[string]string{
				"compose.yaml": services + "    environment: {DB_PASSWORD: $DB_PASSWORD}\n",
				".env":         "DB_PASSWORD=9f86d081884c7d659$edgetestnowhere\n",
			},
			want: "warning compose file: the variable edgetestnowhere is not set",
		},
		{
			name: "$$ in the environment of the edge",
			files: map[string]string{
				"compose.yaml":  "services:" + edgeServiceYAML + "    environment: {PART: part$$1.caddy}\n" + appServiceYAML,
				"Caddyfile":     "import {$PART}\n",
				"part$1.caddy":  appCaddyfile,
				"part$$1.caddy": "this is not a Caddyfile {",
			},
			want: "ok route: app:3000: app exposes it on default",
		},
		{
			name: "an override file",
			files: map[string]string{
				"compose.yaml":          services,
				"compose.override.yaml": "services: {edge: {ports: !override ['127.83.0.1:17005:80']}}\n",
			},
			want: "ok port: TCP port 127.83.0.1:17005 is free",
		},
		{
			name: "an override file that adds to ports",
			files: map[string]string{
				"compose.yaml":          services,
				"compose.override.yaml": "services: {edge: {ports: ['17000:80']}}\n",
			},
			want: "error port: edge publishes port",
		},
	})
}

// TestCheckOnStacksThatUsersReported has the stacks on which the check missed a fault or raised a false alarm.
func TestCheckOnStacksThatUsersReported(t *testing.T) {
	wildcard := strings.Replace(appCaddyfile, "edge_proxy app:3000", "", 1) + "*.example.com {\n\tedge_proxy app:3000\n}\n"
	runCheckCases(t, []checkCase{
		{
			name:    "a database with an empty password",
			files:   map[string]string{"compose.yaml": "services:" + edgeServiceYAML + appServiceYAML + "  db: {image: 'postgres:16', environment: {POSTGRES_PASSWORD: ''}}\n  mongodb: {image: 'mongo:7', environment: {ALLOW_EMPTY_PASSWORD: 'yes'}}\n"},
			allowed: "secret",
			want:    "error secret: db: POSTGRES_PASSWORD is empty",
		},
		{
			name:  "a database that allows empty passwords",
			files: map[string]string{"compose.yaml": "services:" + edgeServiceYAML + appServiceYAML + "  mongodb: {image: 'mongo:7', environment: {ALLOW_EMPTY_PASSWORD: 'yes'}}\n"},
			want:  "warning secret: mongodb: ALLOW_EMPTY_PASSWORD allows empty passwords",
		},
		{
			name:  "expose without the port",
			files: map[string]string{"compose.yaml": "services:" + edgeServiceYAML + strings.Replace(appServiceYAML, "3000", "9000", 1)},
			want:  "note route: app:3000: app exposes 9000, and not 3000; expose enforces nothing",
		},
		{
			name: "names in upper case",
			files: map[string]string{
				"Caddyfile":    "http:// {\n\tedge_proxy /a webapp:80\n\tedge_proxy /b cloud:80\n}\n",
				"compose.yaml": "services:" + edgeServiceYAML + "  WebApp: {image: 'nginx:1.27', expose: ['80']}\n  app: {image: 'nginx:1.27', container_name: Cloud, expose: ['80']}\n",
			},
			want: "ok route: webapp:80: WebApp exposes it on default",
		},
		{
			name:  "a wildcard site without a DNS challenge",
			files: map[string]string{"compose.yaml": "services:" + edgeServiceYAML + appServiceYAML, "Caddyfile": wildcard},
			want:  "error certificate: *.example.com needs a DNS challenge, and the configuration has none",
		},
		{
			name: "a DNS module that is not built in",
			files: map[string]string{
				"compose.yaml": "services:" + edgeServiceYAML + appServiceYAML,
				"Caddyfile":    strings.Replace(wildcard, "*.example.com {", "*.example.com {\n\ttls {\n\t\tdns cloudflare {env.CF_API_TOKEN}\n\t}", 1),
			},
			want: "error configuration: the module dns.providers.cloudflare is not part of this edge",
		},
		{
			name:  "the image that this project builds",
			files: map[string]string{"compose.yaml": "services:" + strings.Replace(edgeServiceYAML, "edge:1.0.0", "edge:dev", 1) + appServiceYAML},
			want:  "ok image: every service names a version",
		},
	})
}

func runCheckCases(t *testing.T, all []checkCase) {
	for _, s := range all {
		t.Run(s.name, func(t *testing.T) {
			t.Parallel()
			report := s.check(t)
			found := false
			for _, f := range report.Findings {
				level, kind, text := s.parseWant()
				if string(f.Level) == level && f.Check == kind && strings.Contains(f.Message, text) {
					found = true
					continue
				}
				bad := f.Level == preflight.Error || f.Level == preflight.Warning
				if bad && f.Check != s.allowed && (f.Check != "engine" || s.engine) {
					t.Errorf("false alarm: %s %s: %s", f.Level, f.Check, f.Message)
				}
			}
			if !found {
				t.Errorf("want %s", s.want)
			}
			if t.Failed() {
				logReport(t, report)
			}
		})
	}
}

// parseWant returns the parts of want.
func (s checkCase) parseWant() (level, kind, text string) {
	level, rest, _ := strings.Cut(s.want, " ")
	kind, text, _ = strings.Cut(rest, ": ")
	return level, kind, text
}

// check writes the files, and runs `edge check --offline` in their directory.
func (s checkCase) check(t *testing.T) preflight.Report {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "stack")
	files := map[string]string{"Caddyfile": appCaddyfile}
	for name, text := range s.files {
		files[name] = text
	}
	for name, text := range files {
		file := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			t.Fatal(err)
		}
		mode := os.FileMode(0o644)
		if name == ".env" {
			mode = 0o600
		}
		if err := os.WriteFile(file, []byte(text), mode); err != nil {
			t.Fatal(err)
		}
	}
	cmd := exec.Command(harness.Edge(t), append([]string{"check", "--json", "--offline"}, s.flags...)...)
	cmd.Dir, cmd.Env = dir, os.Environ()
	if !s.engine {
		cmd.Env = append(cmd.Env, "DOCKER_HOST=unix:///nowhere/docker.sock")
	}
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
