package registry

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/theworklabs/edge/internal/testport"
	"github.com/theworklabs/edge/tests/harness"
)

// TestFromGitPushToTheAnswer pushes commits to a git repository, whose hook runs the shipped workflows with act, as the runner of a server does: they build an image,
// push it to the registry behind the edge, and deploy it over SSH with a key that may do nothing else. Requests to the application go on meanwhile. A bad version is
// undone by itself.
func TestFromGitPushToTheAnswer(t *testing.T) {
	if os.Getenv("EDGE_TEST_DELIVERY") == "" {
		t.Skip("a target of its own: make test-delivery")
	}
	for _, server := range []struct{ name, workflow, directory, runner string }{
		{"GitHub", "github.yml", ".github/workflows", "ubuntu-latest"},
		{"Forgejo", "forgejo.yml", ".forgejo/workflows", "docker"},
	} {
		t.Run(server.name, func(t *testing.T) {
			shop := startShop(t)
			sshd := startSSHD(t, shop)
			app := newApp(t, shop, sshd, server.workflow, server.directory, server.runner)
			load := shop.startLoad(t)
			for _, version := range []string{"version-2", "version-3"} {
				began := time.Now()
				out, err := app.push(t, "FROM edge-test/generic:test\nENV NAME="+version+"\n")
				if err != nil {
					t.Fatalf("git push: %v\n%s", err, out)
				}
				t.Logf("%s: answers %.1f s after the beginning of git push, which took %.1f s", version, load.answered(t, version).Sub(began).Seconds(), time.Since(began).Seconds())
			}
			if n, lost := load.count(); lost != 0 {
				t.Errorf("%d of %d requests were lost", lost, n)
			} else {
				t.Logf("0 of %d requests were lost", n)
			}

			if out, err := app.push(t, "FROM edge-test/generic:test\nENV NAME=vulnerable\n"); err == nil || !strings.Contains(out, "Main Scan") || strings.Contains(out, "Main Push") {
				t.Errorf("an image that the scanner refuses: %v\n%s", err, out)
			}

			began := time.Now()
			before, _ := load.count()
			out, err := app.push(t, "FROM edge-test/generic:test\nENV NAME=bad FAIL_STATUS=500\n")
			if err == nil || !strings.Contains(out, "it was undone") {
				t.Errorf("a bad version: %v\n%s", err, out)
			}
			n, failed := load.count()
			t.Logf("a bad version: git push took %.1f s until it was undone; %d of %d requests failed, in %.1f s", time.Since(began).Seconds(), failed, n-before, load.failedFor().Seconds())
			if failed == 0 || load.failedFor() > 2*time.Minute {
				t.Errorf("requests failed for %s: want some, because the version is bad, and for less than two minutes", load.failedFor())
			}
			if body := shop.Get(t, webURL).Body; !strings.Contains(body, "version-3") {
				t.Errorf("after the bad version, the answer is %q", body)
			}
		})
	}
}

const webURL = "http://web.localhost/_test/echo"

// shop is the stack of tests/deploy in a directory of its own.
type shop struct {
	harness.Project
	dir string
}

func startShop(t *testing.T) *shop {
	t.Helper()
	s := &shop{dir: t.TempDir()}
	s.Project = harness.Project{Name: "edgedelivery", HTTP: testport.Port(t), Files: []string{filepath.Join(s.dir, "compose.yaml")}}
	s.Cleanup(t)
	for _, name := range []string{"compose.yaml", "Caddyfile"} {
		text, err := os.ReadFile(filepath.Join("../deploy", name))
		if err != nil {
			t.Fatal(err)
		}
		writeFile(t, filepath.Join(s.dir, name), string(text), 0o644)
	}
	writeFile(t, filepath.Join(s.dir, ".env"), fmt.Sprintf("COMPOSE_PROJECT_NAME=%s\nDEPLOY_HTTP=%s\n", s.Name, s.HTTP), 0o644)
	s.Env = []string{"DEPLOY_HTTP=" + s.HTTP}
	s.MustCompose(t, "up", "--detach")
	s.WaitReady(t, "web:8080", 1)
	return s
}

func writeFile(t *testing.T, name, text string, mode os.FileMode) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(name), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(name, []byte(text), mode); err != nil {
		t.Fatal(err)
	}
}

// sshServer is Debian's sshd on loopback, for one key, which may run edge deploy-agent.
type sshServer struct{ address, key, hostKey string }

func startSSHD(t *testing.T, s *shop) sshServer {
	t.Helper()
	dir, port := t.TempDir(), testport.Port(t)
	for _, name := range []string{"host", "ci"} {
		mustRun(t, dir, "ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", name, "-f", name)
	}
	// The agent pulls images with an account that cannot push.
	config := filepath.Join(dir, "docker")
	mustRun(t, dir, "docker", "--config", config, "login", "--username", "pull", "--password", stack.passwords["pull"], "localhost:"+stack.HTTPS)
	linkPlugins(t, config)
	writeFile(t, filepath.Join(dir, "authorized_keys"), fmt.Sprintf(`restrict,command="DOCKER_CONFIG=%s %s deploy-agent --project-directory %s --name ci --require-digest --sessions 0s --undo-on-errors 1m --allow web=localhost:%s/shop/web" %s`,
		config, stack.edge, s.dir, stack.HTTPS, readFile(t, filepath.Join(dir, "ci.pub"))), 0o600)
	writeFile(t, filepath.Join(dir, "sshd_config"), fmt.Sprintf(`ListenAddress 127.0.0.1:%s
HostKey %s/host
AuthorizedKeysFile %[2]s/authorized_keys
PermitRootLogin forced-commands-only
PasswordAuthentication no
KbdInteractiveAuthentication no
StrictModes no
UsePAM no
Subsystem sftp internal-sftp
PidFile none
`, port, dir), 0o600)
	if err := os.MkdirAll("/run/sshd", 0o755); err != nil { // where it drops its rights
		t.Fatal(err)
	}
	p := harness.StartProcess(t, exec.Command("/usr/sbin/sshd", "-D", "-e", "-f", filepath.Join(dir, "sshd_config")))
	p.WaitForLog(t, 10*time.Second, "Server listening")
	host := strings.Fields(readFile(t, filepath.Join(dir, "host.pub")))
	return sshServer{"127.0.0.1:" + port, readFile(t, filepath.Join(dir, "ci")), fmt.Sprintf("[127.0.0.1]:%s %s %s", port, host[0], host[1])}
}

// linkPlugins has docker find Compose with a configuration of its own.
func linkPlugins(t *testing.T, config string) {
	t.Helper()
	home, err := os.UserHomeDir()
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(filepath.Join(home, ".docker/cli-plugins"), filepath.Join(config, "cli-plugins")); err != nil {
		t.Fatal(err)
	}
}

func readFile(t *testing.T, name string) string {
	t.Helper()
	text, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func mustRun(t *testing.T, dir, name string, args ...string) string {
	t.Helper()
	out, err := runIn(t, dir, name, args...)
	if err != nil {
		t.Fatalf("%s: %v\n%s", name, err, out)
	}
	return out
}

func runIn(t *testing.T, dir, name string, args ...string) (string, error) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), name, args...)
	cmd.Dir = dir
	cmd.WaitDelay = 10 * time.Second // act's children have its output, too
	out, err := cmd.CombinedOutput()
	return string(out), err
}

// app is a clone of an application's repository. A hook of the repository runs its workflow.
type app struct{ dir string }

func newApp(t *testing.T, s *shop, sshd sshServer, workflow, directory, runner string) *app {
	t.Helper()
	dir := t.TempDir()
	registry := "localhost:" + stack.HTTPS
	a := &app{filepath.Join(dir, "clone")}
	writeFile(t, filepath.Join(dir, "vars"), fmt.Sprintf("REGISTRY=%s\nIMAGE=shop/web\nSERVICE=web\nDEPLOY_TO=ssh://root@%s\nSCAN=%s/scan\n", registry, sshd.address, dir), 0o600)
	// In the place of a scanner of images.
	writeFile(t, filepath.Join(dir, "scan"), "#!/bin/sh\ncase $(docker image inspect --format '{{.Config.Env}}' \"$1\") in *NAME=vulnerable*) exit 1 ;; *NAME=*) ;; *) exit 2 ;; esac\n", 0o700)
	writeFile(t, filepath.Join(dir, "secrets"), fmt.Sprintf("REGISTRY_USER=push\nREGISTRY_PASSWORD=%s\nDEPLOY_KEY=%q\nDEPLOY_HOST_KEY=%q\n", stack.passwords["push"], strings.TrimSpace(sshd.key), sshd.hostKey), 0o600)
	writeFile(t, filepath.Join(dir, "env"), fmt.Sprintf("HOME=%s/home\nDOCKER_BUILDKIT=0\n", dir), 0o600)
	if err := os.Mkdir(filepath.Join(dir, "home"), 0o700); err != nil {
		t.Fatal(err)
	}
	mustRun(t, dir, "git", "init", "--quiet", "--bare", "--initial-branch", "main", "server")
	// act runs the steps on this machine instead of in an image of a runner, and takes the files that are there for a checkout.
	writeFile(t, filepath.Join(dir, "server/hooks/post-receive"), fmt.Sprintf(`#!/bin/sh
set -eu
unset GIT_DIR GIT_QUARANTINE_PATH
rm -rf %[1]s/checkout
git clone --quiet %[1]s/server %[1]s/checkout
cd %[1]s/checkout
exec %[2]s push --workflows %[3]s --platform %[4]s=-self-hosted --var-file %[1]s/vars --secret-file %[1]s/secrets --env-file %[1]s/env --no-cache-server --pull=false
`, dir, harness.Tool(t, "act"), filepath.Join(directory, "deploy.yml"), runner), 0o700)
	mustRun(t, dir, "git", "clone", "--quiet", "server", "clone")
	writeFile(t, filepath.Join(a.dir, directory, "deploy.yml"), readFile(t, filepath.Join("../../deploy/ci", workflow)), 0o644)
	return a
}

// push commits a Dockerfile and pushes it. It returns what git prints, which has what the workflow prints.
func (a *app) push(t *testing.T, dockerfile string) (string, error) {
	t.Helper()
	writeFile(t, filepath.Join(a.dir, "Dockerfile"), dockerfile, 0o644)
	mustRun(t, a.dir, "git", "add", "--all")
	mustRun(t, a.dir, "git", "-c", "user.name=ci", "-c", "user.email=ci@example.com", "commit", "--quiet", "--message", "a version")
	out, err := runIn(t, a.dir, "git", "push", "--quiet", "origin", "HEAD:main")
	if err == nil && !strings.Contains(out, "Job succeeded") { // the hook's status is not that of git push
		err = fmt.Errorf("the workflow failed")
	}
	return out, err
}

// load sends requests to the application, 50 a second, until the end of the test.
type load struct {
	mu       sync.Mutex
	sent     int
	first    map[string]time.Time // when a version answered first
	failures []time.Time
}

func (s *shop) startLoad(t *testing.T) *load {
	t.Helper()
	l := &load{first: make(map[string]time.Time)}
	ctx, cancel := context.WithCancel(context.Background())
	var sender sync.WaitGroup
	t.Cleanup(func() { cancel(); sender.Wait() })
	sender.Go(func() {
		client := s.Client(true, nil)
		client.Timeout = 30 * time.Second
		tick := time.NewTicker(20 * time.Millisecond)
		defer tick.Stop()
		for ctx.Err() == nil {
			a, err := harness.Do(client, http.MethodGet, webURL, nil)
			l.add(a, err)
			<-tick.C
		}
	})
	return l
}

func (l *load) add(a harness.Response, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.sent++
	if err != nil || a.Status != http.StatusOK {
		l.failures = append(l.failures, time.Now())
		return
	}
	_, rest, _ := strings.Cut(a.Body, `"name":"`)
	name, _, _ := strings.Cut(rest, `"`)
	if _, isKnown := l.first[name]; !isKnown {
		l.first[name] = time.Now()
	}
}

func (l *load) count() (sent, failed int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.sent, len(l.failures)
}

// failedFor returns the time from the first failure to the last one.
func (l *load) failedFor() time.Duration {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.failures) == 0 {
		return 0
	}
	return l.failures[len(l.failures)-1].Sub(l.failures[0])
}

// answered waits until a version has answered, and returns when it did first.
func (l *load) answered(t *testing.T, version string) (at time.Time) {
	t.Helper()
	harness.Eventually(t, version+" answers", func() bool {
		l.mu.Lock()
		defer l.mu.Unlock()
		at = l.first[version]
		return !at.IsZero()
	})
	return at
}
