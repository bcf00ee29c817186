package tests

import (
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/theworklabs/edge/internal/testport"
	"github.com/theworklabs/edge/tests/harness"
)

// snippet returns the first code block of a language below a heading of a page of docs.
func snippet(t *testing.T, page, heading, language string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("../docs", page))
	if err != nil {
		t.Fatal(err)
	}
	_, section, found := strings.Cut(string(text), "\n## "+heading+"\n")
	section, _, _ = strings.Cut(section, "\n## ")
	block := regexp.MustCompile("(?s)```" + language + "\n(.*?)```").FindStringSubmatch(section)
	if !found || block == nil {
		t.Fatalf("%s has no code block in %s below %q", page, language, heading)
	}
	lines := strings.SplitAfter(block[1], "\n")
	indent := len(lines[0]) - len(strings.TrimLeft(lines[0], " ")) // that of a block in a list
	for i, line := range lines {
		lines[i] = line[min(indent, len(line)):]
	}
	return strings.Join(lines, "")
}

// ownStack is deploy/edge.compose.yaml as the project front, and an application as the project shop, both made of the snippets of a page.
type ownStack struct {
	*project // front
	shop     *project
	dir      string // of front and shop
	network  string
}

// newOwnStack writes the files of both projects. Names, ports and images differ from those in the page.
func newOwnStack(t *testing.T, name, caddyfile, application string) *ownStack {
	t.Helper()
	dir := t.TempDir()                           // first: it goes after the projects
	if err := os.Chmod(dir, 0o755); err != nil { // the edge is another user
		t.Fatal(err)
	}
	front := newProject(t, name)
	s := &ownStack{project: front, shop: &project{harness.Project{Name: front.Name + "shop"}}, dir: dir, network: front.Name + "-proxy"}
	s.shop.Cleanup(t)
	shipped, err := os.ReadFile("../deploy/edge.compose.yaml")
	if err != nil {
		t.Fatal(err)
	}
	front.Files = []string{s.write(t, "front/compose.yaml", strings.Replace(string(shipped), "name: proxy", "name: "+s.network, 1))}
	s.write(t, "front/Caddyfile", strings.NewReplacer("shop.example.com", "http://shop.localhost", "shop/web:8080", s.shop.Name+"/web:8080", "shop/api:8080", s.shop.Name+"/web:8080", "/health", "/_test/health", "/v1{uri}", "/_test{uri}").
		Replace(caddyfile))
	s.shop.Files = []string{
		s.write(t, "shop/compose.yaml", strings.NewReplacer("example/shop:1.4", "edge-test/generic:test", "external: true", "external: true\n    name: "+s.network).
			Replace(application)),
		s.write(t, "shop/compose.override.yaml", "services: {web: {environment: {PORT: '8080', NAME: shop}}}\n"),
	}
	front.Env = []string{"PUBLISH_HTTP=127.0.0.1:" + front.HTTP, "PUBLISH_HTTPS=127.0.0.1:" + testport.Port(t)}
	return s
}

func (s *ownStack) write(t *testing.T, name, text string) (path string) {
	t.Helper()
	path = filepath.Join(s.dir, name)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	return path
}

// run runs a command of the edge in the directory of a project, and returns its output.
func (s *ownStack) run(t *testing.T, directory string, args ...string) string {
	t.Helper()
	cmd := exec.Command(harness.Edge(t), args...)
	cmd.Dir, cmd.Env = filepath.Join(s.dir, directory), s.Environ()
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Errorf("edge %s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return string(out)
}

// fail runs a command of the edge that must fail, and returns its output.
func (s *ownStack) fail(t *testing.T, directory string, args ...string) string {
	t.Helper()
	cmd := exec.Command(harness.Edge(t), args...)
	cmd.Dir, cmd.Env = filepath.Join(s.dir, directory), s.Environ()
	out, err := cmd.CombinedOutput()
	if err == nil {
		t.Errorf("edge %s succeeds:\n%s", strings.Join(args, " "), out)
	}
	return string(out)
}

// TestYourOwnStack follows docs/your-own-stack.md with its own snippets.
func TestYourOwnStack(t *testing.T) {
	t.Parallel()
	const page = "your-own-stack.md"
	s := newOwnStack(t, "own", snippet(t, page, "1. Start the edge", "caddyfile"), snippet(t, page, "2. Connect an application", "yaml"))
	s.MustCompose(t, "up", "--detach", "--wait") // the edge and the guard are healthy
	s.shop.MustCompose(t, "up", "--detach")
	s.WaitForStatus(t, "http://shop.localhost/_test/echo", http.StatusOK)
	s.CheckGet(t, "http://shop.localhost/_test/echo", harness.Want{Contains: `"shop"`})

	if out := s.run(t, "front", "check", "--project-name", s.Name); !strings.Contains(out, " (project "+s.shop.Name+")") {
		t.Errorf("edge check does not find the service of the other project:\n%s", out)
	}
	s.loadAllMethodsDuring(t, "http://shop.localhost/_test", 20, func() {
		s.run(t, "shop", "rollout", "--project-name", s.shop.Name, "--edge", s.Name+"/edge", "--force", "--sessions", "0s", "web")
	})
}

// TestMovingFromOtherProxies runs the examples of docs/moving-from-other-proxies.md: an application as it is behind another proxy, and the
// Caddyfile that takes its place. The network is that of the other proxy.
func TestMovingFromOtherProxies(t *testing.T) {
	harness.LongOnly(t, "test-long")
	const page = "moving-from-other-proxies.md"
	const authorization = "Basic YW5uYTpzd29yZGZpc2g=" // anna:swordfish
	const tables = "The tables"                        // its example lets only 192.0.2.0/24 in
	type want struct {
		path, authorization string
		harness.Want
	}
	for heading, wants := range map[string][]want{
		"From Traefik": {
			{path: "/_test/echo", Want: harness.Want{Status: http.StatusOK, Contains: `"/_test/echo"`}},
			{path: "/admin/_test/echo", Want: harness.Want{Status: http.StatusUnauthorized}},
			{path: "/admin/_test/echo", authorization: authorization, Want: harness.Want{Status: http.StatusOK, Contains: `"/_test/echo"`}},
		},
		tables: {
			{path: "/_test/echo", Want: harness.Want{Status: http.StatusForbidden}},
			{path: "/api/echo", Want: harness.Want{Status: http.StatusForbidden}},
		},
		"From nginx-proxy": {
			{path: "/shop/_test/echo", Want: harness.Want{Status: http.StatusOK, Contains: `"/_test/echo"`}},
		},
		"From caddy-docker-proxy": {
			{path: "/_test/echo", Want: harness.Want{Status: http.StatusOK, Contains: `"/_test/echo"`}},
			{path: "/admin", Want: harness.Want{Status: http.StatusUnauthorized}},
			{path: "/admin/..", authorization: authorization, Want: harness.Want{Status: http.StatusOK}},
		},
		"From Nginx Proxy Manager": {
			{path: "/_test/echo", Want: harness.Want{Status: http.StatusUnauthorized}},
			{path: "/_test/echo", authorization: authorization, Want: harness.Want{Status: http.StatusOK, Contains: `"/_test/echo"`, Header: map[string]string{"X-Content-Type-Options": "nosniff"}}},
			{path: "/api/echo", authorization: authorization, Want: harness.Want{Status: http.StatusOK, Contains: `"/_test/echo"`}},
		},
	} {
		t.Run(heading, func(t *testing.T) {
			application := heading
			caddyfile := ""
			if heading == tables {
				application = "From Traefik"
				before, _, _ := strings.Cut(snippet(t, page, application, "caddyfile"), "shop.example.com")
				caddyfile = before + "shop.example.com {\n" + snippet(t, page, tables, "caddyfile site") + "}\n"
			} else {
				caddyfile = snippet(t, page, heading, "caddyfile")
			}
			s := newOwnStack(t, "move", caddyfile, snippet(t, page, application, "yaml"))
			harness.MustDocker(t, "network", "create", s.network)
			t.Cleanup(func() { harness.MustDocker(t, "network", "rm", s.network) })
			s.shop.Cleanup(t) // before the network goes
			s.project.Cleanup(t)
			s.Files = append(s.Files, s.write(t, "front/compose.override.yaml", strings.ReplaceAll(snippet(t, page, "The move", "yaml"), "traefik_default", s.network)))
			s.shop.MustCompose(t, "up", "--detach") // it runs already
			s.MustCompose(t, "up", "--detach")
			s.WaitReady(t, s.shop.Name+"/web:8080", 1)
			for _, want := range wants {
				var header []string
				if want.authorization != "" {
					header = []string{"Authorization", want.authorization}
				}
				s.CheckGet(t, "http://shop.localhost"+want.path, want.Want, header...)
			}
			if out := s.run(t, "front", "check", "--project-name", s.Name); !strings.Contains(out, " (project "+s.shop.Name+")") {
				t.Errorf("edge check does not find the service of the other project:\n%s", out)
			}
		})
	}
}
