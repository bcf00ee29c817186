package upgrade

import (
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

// directory is an owner's clone of the repository, whose files change from one release to the other.
type directory struct {
	harness.Project
	dir string
}

// use makes the files and the image those of a release.
func (d *directory) use(t *testing.T, files, image string) {
	t.Helper()
	for _, name := range []string{"compose.yaml", "Caddyfile"} {
		text, err := os.ReadFile(filepath.Join(files, name))
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(d.dir, name), text, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	d.Setenv("EDGE_IMAGE", image)
}

// rollOut replaces the edge as docs/operate.md says, by a release's program.
func (d *directory) rollOut(t *testing.T, program string) {
	t.Helper()
	d.MustCompose(t, "up", "--detach", "--no-deps", "--wait", "docker-guard")
	cmd := exec.CommandContext(t.Context(), program, append([]string{"rollout", "edge"}, d.FileArgs()...)...)
	cmd.Env, cmd.Dir = d.Environ(), d.dir
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%s rollout edge: %v\n%s", program, err, out)
	}
}

// load is requests to a site, one after the other, on connections that are kept and on new ones.
type load struct {
	stop    chan struct{}
	once    sync.Once
	running sync.WaitGroup
	mu      sync.Mutex
	count   int
	lost    []string
}

const docs = "https://docs.localhost/"

func (d *directory) startLoad() *load {
	l := &load{stop: make(chan struct{})}
	for i := range 4 {
		client := d.Client(i%2 == 0, nil)
		l.running.Go(func() {
			for {
				select {
				case <-l.stop:
					return
				case <-time.After(10 * time.Millisecond):
				}
				got, err := harness.Do(client, http.MethodGet, docs, nil)
				l.mu.Lock()
				l.count++
				if err != nil || got.Status != http.StatusOK {
					l.lost = append(l.lost, fmt.Sprint(got.Status, " ", err))
				}
				l.mu.Unlock()
			}
		})
	}
	return l
}

// cancel ends the load; it may be called again.
func (l *load) cancel() {
	l.once.Do(func() { close(l.stop) })
	l.running.Wait()
}

// end ends the load, and fails the test if a request was lost.
func (l *load) end(t *testing.T, what string) {
	t.Helper()
	l.cancel()
	if t.Logf("%s: %d of %d requests were lost", what, len(l.lost), l.count); len(l.lost) > 0 || l.count < 50 {
		t.Errorf("%s: %d of %d requests were lost, the first: %v", what, len(l.lost), l.count, l.lost[:min(len(l.lost), 3)])
	}
}

// certificate returns the serial number of the site's certificate.
func (d *directory) certificate(t *testing.T) string {
	t.Helper()
	resp, err := d.Client(false, nil).Get(docs)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	return resp.TLS.PeerCertificates[0].SerialNumber.String()
}

// TestTheStackOfAnotherReleaseIsUpgraded in containers, with its volumes, and back, while requests are sent: as docs/operate.md has it, with the image, the files and the program of each. The
// gate stays.
func TestTheStackOfAnotherReleaseIsUpgraded(t *testing.T) {
	revision := os.Getenv("EDGE_TEST_BASE")
	if revision == "" {
		t.Skip("make test-upgrade BASE=REVISION runs it")
	}
	before := older(t, revision)
	old := filepath.Dir(before.caddyfile)
	const image, gate = "edge:edge-test-base", "edge-gate:edge-test-base"
	build := exec.CommandContext(t.Context(), filepath.Join(old, "deploy/image"), image, gate)
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	t.Cleanup(func() { _, _ = harness.RunDocker(t.Context(), "image", "rm", "--force", image, gate) })

	d := &directory{dir: t.TempDir()}
	env := filepath.Join(d.dir, ".env") // of the older one: an owner does not write it again
	if out, err := exec.CommandContext(t.Context(), before.binary, "init", "--domain", "localhost", "--file", env).CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	d.Project = harness.Project{Name: "edge-test-upgrade", HTTP: testport.Port(t), HTTPS: testport.Port(t), Files: []string{filepath.Join(d.dir, "compose.yaml"), filepath.Join(harness.Root(), "tests/compose.test.yaml")}}
	d.Env = []string{
		"COMPOSE_ENV_FILES=" + env, "PUBLISH_HTTP=127.0.0.1:" + d.HTTP, "PUBLISH_HTTPS=127.0.0.1:" + d.HTTPS, "PUBLIC_HTTPS_PORT=" + d.HTTPS, "GATE_IMAGE=" + gate,
	}
	d.Cleanup(t)
	d.use(t, old, image)
	d.MustCompose(t, "up", "--detach", "--wait", "corteza-docs", "edge")
	harness.EventuallyWithin(t, time.Minute, "the site answers", func() bool {
		got, err := harness.Do(d.Client(false, nil), http.MethodGet, docs, nil)
		return err == nil && got.Status == http.StatusOK
	})
	inEdge := func(args ...string) string {
		t.Helper()
		return d.MustCompose(t, append([]string{"exec", "-T", "edge", "edge"}, args...)...)
	}
	inEdge("maintenance", "on", "corteza-server", "--message", "set by the older one")
	certificate, oldGate := d.certificate(t), d.container(t, "gate")

	for _, step := range []struct{ name, files, image, program, says, sets string }{
		{"the upgrade", harness.Root(), "edge:dev", harness.Edge(t), "set by the older one", "set by the newer one"},
		{"the way back", old, image, before.binary, "set by the newer one", "set by the older one again"},
		{"the upgrade again", harness.Root(), "edge:dev", harness.Edge(t), "set by the older one again", ""},
	} {
		l := d.startLoad()
		t.Cleanup(l.cancel)
		d.use(t, step.files, step.image)
		d.rollOut(t, step.program)
		l.end(t, step.name)
		if got := strings.TrimSpace(harness.MustDocker(t, "inspect", "--format", "{{.Config.Image}}", d.container(t, "edge"))); got != step.image {
			t.Errorf("%s: the edge has the image %s", step.name, got)
		}
		if got := inEdge("maintenance", "--json"); !strings.Contains(got, step.says) {
			t.Errorf("%s: the maintenance is %s, want what was %s", step.name, got, step.says)
		}
		if got := d.certificate(t); got != certificate {
			t.Errorf("%s: the site has another certificate", step.name)
		}
		if got := d.container(t, "gate"); got != oldGate {
			t.Errorf("%s: the gate was replaced", step.name)
		}
		inEdge("maintenance", "off", "corteza-server")
		if step.sets != "" {
			inEdge("maintenance", "on", "corteza-server", "--message", step.sets)
		}
	}
}

// container returns the ID of a service's container.
func (d *directory) container(t *testing.T, service string) string {
	t.Helper()
	id, err := d.Container(t.Context(), service)
	if err != nil {
		t.Fatal(err)
	}
	return id
}
