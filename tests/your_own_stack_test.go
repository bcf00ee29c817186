package tests

import (
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/theworklabs/edge/tests/harness"
)

// snippet returns the first code block of a language in a page of docs.
func snippet(t *testing.T, page, language string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("../docs", page))
	if err != nil {
		t.Fatal(err)
	}
	block := regexp.MustCompile("(?s)```" + language + "\n(.*?)```").FindSubmatch(text)
	if block == nil {
		t.Fatalf("%s has no code block in %s", page, language)
	}
	return string(block[1])
}

// TestYourOwnStack follows docs/your-own-stack.md with its own snippets, but other names, ports and images.
func TestYourOwnStack(t *testing.T) {
	dir := t.TempDir() // first: it goes after the projects
	front := newProject(t, "own")
	shop := &project{harness.Project{Name: front.Name + "shop"}}
	shop.Cleanup(t)
	write := func(name, text string) string {
		t.Helper()
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		return path
	}
	if err := os.Chmod(dir, 0o755); err != nil { // the edge is another user
		t.Fatal(err)
	}
	shipped, err := os.ReadFile("../deploy/edge.compose.yaml")
	if err != nil {
		t.Fatal(err)
	}
	network := front.Name + "-proxy"
	const page = "your-own-stack.md"
	front.Files = []string{write("front/compose.yaml", strings.Replace(string(shipped), "name: proxy", "name: "+network, 1))}
	write("front/Caddyfile", strings.NewReplacer("shop.example.com", "http://shop.localhost", "projects front shop", "projects "+front.Name+" "+shop.Name).
		Replace(snippet(t, page, "caddyfile")))
	shop.Files = []string{
		write("shop/compose.yaml", strings.NewReplacer("example/shop:1.4", "edge-test/generic:test", "external: true", "external: true\n    name: "+network).
			Replace(snippet(t, page, "yaml"))),
		write("shop/compose.override.yaml", "services: {web: {environment: {PORT: '8080', NAME: shop}}}\n"),
	}
	https := harness.FreePort(t)
	front.Env = []string{"PUBLISH_HTTP=127.0.0.1:" + front.HTTP, "PUBLISH_HTTPS=127.0.0.1:" + https}
	front.MustCompose(t, "up", "--detach")
	shop.MustCompose(t, "up", "--detach")
	front.WaitForStatus(t, "http://shop.localhost/_test/echo", http.StatusOK)
	front.CheckGet(t, "http://shop.localhost/_test/echo", harness.Want{Contains: `"shop"`})

	run := func(directory string, args ...string) string {
		t.Helper()
		cmd := exec.Command(harness.Edge(t), args...)
		cmd.Dir, cmd.Env = filepath.Join(dir, directory), front.Environ()
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Errorf("edge %s: %v\n%s", strings.Join(args, " "), err, out)
		}
		return string(out)
	}
	if out := run("front", "check", "--project-name", front.Name); !strings.Contains(out, " (project "+shop.Name+")") {
		t.Errorf("edge check does not find the service of the other project:\n%s", out)
	}
	load := front.loadAllMethodsDuring(t, "http://shop.localhost/_test/echo", func() {
		run("shop", "rollout", "--project-name", shop.Name, "--edge", front.Name+"/edge", "--force", "--sessions", "0s", "web")
	})
	load.requireCount(t, 20)
}
