package tests

import (
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/theworklabs/edge/tests/harness"
)

// dropIn is an edge with a user's own compose file and Caddyfile.
type dropIn struct {
	*project
	dir string
}

// newDropIn starts a stack of these files and waits until Docker reports that all its containers are healthy. It replaces $PORT in
// the files by a free port.
func newDropIn(t *testing.T, files map[string]string) *dropIn {
	t.Helper()
	d := &dropIn{dir: t.TempDir()}
	d.project = newProject(t, "", filepath.Join(d.dir, "compose.yaml"))
	if err := os.Chmod(d.dir, 0o755); err != nil { // user 1000 reads what is mounted
		t.Fatal(err)
	}
	for name, text := range files {
		path := filepath.Join(d.dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(strings.ReplaceAll(text, "$PORT", d.HTTP)), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	d.MustCompose(t, "up", "--detach", "--wait", "--wait-timeout", "60")
	return d
}

const echoPath = "/_test/echo"

// TestImageReplacesTheCaddyImage has the Caddyfile where the Caddy image expects it, and a site that uses no directive of the edge.
func TestImageReplacesTheCaddyImage(t *testing.T) {
	t.Parallel()
	d := newDropIn(t, map[string]string{
		"compose.yaml": `
services:
  caddy:
    image: edge:dev
    ports: ["127.0.0.1:$PORT:80"]
    volumes:
      - caddy_data:/data
      - ./config:/config
      - ./config/Caddyfile:/etc/caddy/Caddyfile
  web:
    image: edge-test/generic:test
volumes:
  caddy_data:
`,
		"config/Caddyfile": "http://web.localhost {\n\treverse_proxy web:8080 {\n\t\tflush_interval -1\n\t}\n}\n",
	})
	d.CheckGet(t, "http://web.localhost"+echoPath, harness.Want{Status: http.StatusOK})
	logs, err := d.Compose(t.Context(), "logs", "--no-color", "caddy")
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(logs, "obtaining certificate") || strings.Contains(logs, "theworklabs.cc") {
		t.Errorf("the edge requests certificates:\n%s", logs)
	}
}

func TestImageRefusesTwoConfigurations(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{"one", "two"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte("http://\n"), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	out, err := exec.Command("docker", "run", "--rm", "--network", "none", "-v", filepath.Join(dir, "one")+":/etc/edge/Caddyfile:ro",
		"-v", filepath.Join(dir, "two")+":/etc/caddy/Caddyfile:ro", "edge:dev").CombinedOutput()
	if text := string(out); err == nil || !strings.Contains(text, "two configurations") || !strings.Contains(text, "edge: hint:") {
		t.Errorf("%v: %s", err, out)
	}
}

// TestImageAloneRequestsNoCertificate: without DOMAIN, the shipped Caddyfile has no public host.
func TestImageAloneRequestsNoCertificate(t *testing.T) {
	t.Parallel()
	d := newDropIn(t, map[string]string{"compose.yaml": "services:\n  edge:\n    image: edge:dev\n    ports: [\"127.0.0.1:$PORT:80\"]\n"})
	d.CheckGet(t, "http://localhost/health", harness.Want{Status: http.StatusOK})
	logs, err := d.Compose(t.Context(), "logs", "--no-color", "edge")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"theworklabs", "acme-v02", "zerossl"} {
		if strings.Contains(logs, name) {
			t.Errorf("the log contains %s:\n%s", name, logs)
		}
	}
}

// TestEveryRunningConfigurationIsHealthy checks the health that Docker reports.
func TestEveryRunningConfigurationIsHealthy(t *testing.T) {
	t.Parallel()
	for name, caddyfile := range map[string]string{
		"README":    "{\n\tadmin unix//run/edge/admin.sock\n\tpersist_config off\n\tgrace_period 20s\n\tedge {\n\t\tdocker_host tcp://docker-guard:2375\n\t}\n}\n\napp.localhost {\n\tsanitize_request\n\thealth\n\tedge_proxy app:8080 {\n\t\tprobe {\n\t\t\turi /health\n\t\t}\n\t}\n}\n",
		"admin_off": "{\n\tadmin off\n}\n\nhttp://app.localhost {\n\trespond ok\n}\n",
	} {
		t.Run(name, func(t *testing.T) {
			newDropIn(t, map[string]string{
				"compose.yaml": "services:\n  edge:\n    image: edge:dev\n    volumes: [\"./Caddyfile:/etc/edge/Caddyfile:ro\"]\n    healthcheck:\n      interval: 1s\n" +
					"  app:\n    image: edge-test/generic:test\n",
				"Caddyfile": caddyfile,
			})
		})
	}
}

// TestReloadResolvesRelativeImports reloads from standard input, as in the README.
func TestReloadResolvesRelativeImports(t *testing.T) {
	t.Parallel()
	const caddyfile = "{\n\tedge {\n\t\thold 10s\n\t}\n}\nhttp:// {\n\thealth\n}\nimport sites/*.caddy\n"
	d := newDropIn(t, map[string]string{
		"compose.yaml": "services:\n  edge:\n    image: edge:dev\n    ports: [\"127.0.0.1:$PORT:80\"]\n    volumes:\n      - ./Caddyfile:/etc/edge/Caddyfile:ro\n" +
			"      - ./sites:/etc/edge/sites:ro\n  app:\n    image: edge-test/generic:test\n",
		"Caddyfile":       caddyfile,
		"sites/app.caddy": "http://app.localhost {\n\tedge_proxy app:8080\n}\n",
	})
	d.CheckGet(t, "http://app.localhost"+echoPath, harness.Want{Status: http.StatusOK})
	reload := exec.Command("docker", "exec", "--interactive", d.container(t, "edge"), "edge", "reload", "--adapter", "caddyfile", "--config", "-")
	reload.Stdin = strings.NewReader(caddyfile)
	if out, err := reload.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	if a := d.CheckGet(t, "http://app.localhost"+echoPath, harness.Want{Status: http.StatusOK}); a.Body == "" {
		t.Error("after the reload, the response is empty")
	}
}

// TestFixedAddressesAreServed has upstreams that are addresses and names outside of Docker's DNS.
func TestFixedAddressesAreServed(t *testing.T) {
	t.Parallel()
	d := newDropIn(t, map[string]string{
		"compose.yaml": fmt.Sprintf(`
services:
  edge:
    image: edge:dev
    ports: ["127.0.0.1:$PORT:80"]
    volumes: ["./Caddyfile:/etc/edge/Caddyfile:ro"]
    extra_hosts: ["legacy.internal:%[1]s.3"]
    networks: {default: {ipv4_address: %[1]s.2}}
  app:
    image: edge-test/generic:test
    networks: {default: {ipv4_address: %[1]s.3}}
networks:
  default: {ipam: {config: [{subnet: %[1]s.0/24}]}}
`, "10.213.117"),
		"Caddyfile": "http://address.localhost {\n\tedge_proxy 10.213.117.3:8080\n}\nhttp://name.localhost {\n\tedge_proxy legacy.internal:8080\n}\n" +
			"http://self.localhost {\n\tedge_proxy localhost:80\n}\n",
	})
	for _, host := range []string{"address.localhost", "name.localhost"} {
		d.CheckGet(t, "http://"+host+echoPath, harness.Want{Status: http.StatusOK})
	}
}
