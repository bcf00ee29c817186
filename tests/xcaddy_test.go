package tests

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/theworklabs/edge/tests/harness"
)

// TestXcaddyMainBuilds builds the main package that xcaddy writes, in a module of its own.
func TestXcaddyMainBuilds(t *testing.T) {
	t.Parallel() // with TestSlowResponseIsNotCutOff, which waits
	root, dir := harness.Root(), t.TempDir()
	gomod, err := os.ReadFile("../go.mod")
	if err != nil {
		t.Fatal(err)
	}
	gosum, err := os.ReadFile("../go.sum")
	if err != nil {
		t.Fatal(err)
	}
	const module = "github.com/theworklabs/edge"
	outside := strings.Replace(string(gomod), "module "+module, "module caddy", 1)
	outside += "\nrequire " + module + " v0.0.0\n\nreplace " + module + " => " + root + "\n"
	for name, text := range map[string]string{
		"go.mod": outside,
		"go.sum": string(gosum),
		"main.go": `package main

import (
	caddycmd "github.com/caddyserver/caddy/v2/cmd"

	// plug in Caddy modules here
	_ "github.com/caddyserver/caddy/v2/modules/standard"
	_ "github.com/theworklabs/edge"
)

func main() {
	caddycmd.Main()
}
`,
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := harness.Build(dir, "caddy", ".", "-mod=mod"); err != nil {
		t.Fatal(err)
	}
	modules, err := exec.Command(filepath.Join(dir, "caddy"), "list-modules").Output()
	if err != nil {
		t.Fatal(err)
	}
	for _, id := range []string{
		"edge", "admin.api.edge", "http.handlers.edge_health", "http.handlers.edge_proxy", "http.handlers.error_pages",
		"http.handlers.rate_limit", "http.ip_sources.private", "http.ip_sources.cloudflare", "caddy.storage.postgres",
		"http.reverse_proxy.transport.edge", "http.reverse_proxy.upstreams.docker_dns",
	} {
		if !strings.Contains("\n"+string(modules), "\n"+id+"\n") {
			t.Errorf("module %s is missing", id)
		}
	}
	if out, err := exec.Command(filepath.Join(dir, "caddy"), "guard", "--help").CombinedOutput(); err != nil || !strings.Contains(string(out), "Docker socket") {
		t.Errorf("the commands are missing: %v %s", err, out)
	}
}
