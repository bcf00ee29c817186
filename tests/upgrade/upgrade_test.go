// Package upgrade tests the change from another revision to this one, and back: the older edge's configuration and data under the new one.
//
// It is `make test-upgrade BASE=REVISION`, and takes five minutes.
package upgrade

import (
	"archive/tar"
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/theworklabs/edge/internal/testport"
	"github.com/theworklabs/edge/tests/harness"
)

func TestMain(m *testing.M) { harness.Main(m, harness.Suite{Dir: "tests/upgrade"}) }

const (
	site = "accounting.localhost"
	page = "the application"
)

// release is a revision's program and configuration.
type release struct {
	name, binary, caddyfile, json string
}

// older returns the release of a revision, which it builds.
func older(t *testing.T, revision string) *release {
	t.Helper()
	dir := t.TempDir()
	archive, err := exec.Command("git", "-C", harness.Root(), "archive", "--format=tar", revision).Output()
	if err != nil {
		t.Fatalf("git archive %s: %v", revision, err)
	}
	if err := extract(bytes.NewReader(archive), dir); err != nil {
		t.Fatal(err)
	}
	binary := filepath.Join(dir, "edge-of-"+strings.ReplaceAll(revision, "/", "-"))
	if err := harness.Build(dir, binary, "./cmd/edge", "-tags", "nodemo", "-buildvcs=false"); err != nil {
		t.Fatal(err)
	}
	return &release{revision, binary, filepath.Join(dir, "Caddyfile"), filepath.Join(dir, "caddy.json")}
}

// extract writes the regular files of an archive that git has made.
func extract(archive io.Reader, dir string) error {
	for r := tar.NewReader(archive); ; {
		h, err := r.Next()
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
		if h.Typeflag != tar.TypeReg {
			continue
		}
		name := filepath.Join(dir, h.Name)
		text, err := io.ReadAll(r)
		if err := errors.Join(err, os.MkdirAll(filepath.Dir(name), 0o755), os.WriteFile(name, text, os.FileMode(h.Mode&0o777))); err != nil {
			return err
		}
	}
}

// host has what an upgrade leaves as it is: the edge's data, its ports, and the application.
type host struct {
	dir, http, https string
	env              []string
	server, webapp   string // the addresses of the application's services
}

func newHost(t *testing.T) *host {
	t.Helper()
	serve := func() string {
		s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, page) }))
		t.Cleanup(s.Close)
		return s.Listener.Addr().String()
	}
	h := &host{dir: t.TempDir(), http: testport.Port(t), https: testport.Port(t), server: serve(), webapp: serve()}
	h.env = append(os.Environ(), "HOME="+h.dir, "XDG_DATA_HOME="+h.dir, "XDG_CONFIG_HOME="+h.dir, "DOMAIN=localhost", "HTTP_PORT="+h.http, "HTTPS_PORT="+h.https,
		"PUBLIC_HTTPS_PORT="+h.https, "EDGE_ADMIN=unix/"+filepath.Join(h.dir, "admin.sock"))
	return h
}

// configure writes a release's Caddyfile with the application's addresses, as an owner who changed them would have it.
func (h *host) configure(t *testing.T, of *release) string {
	t.Helper()
	text, err := os.ReadFile(of.caddyfile)
	if err != nil {
		t.Fatal(err)
	}
	const preset = "\tbigcapital\n"
	if !strings.Contains(string(text), preset) {
		t.Fatalf("the Caddyfile of %s has no %q", of.name, preset)
	}
	name := filepath.Join(t.TempDir(), "Caddyfile")
	changed := strings.Replace(string(text), preset, "\tbigcapital {\n\t\tserver "+h.server+"\n\t\twebapp "+h.webapp+"\n\t}\n", 1)
	if err := os.WriteFile(name, []byte(changed), 0o600); err != nil {
		t.Fatal(err)
	}
	return name
}

// run runs a command of a release's edge on the host.
func (h *host) run(t *testing.T, of *release, args ...string) string {
	t.Helper()
	cmd := exec.Command(of.binary, args...)
	cmd.Env = h.env
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("edge %s of %s: %v\n%s", strings.Join(args, " "), of.name, err, out)
	}
	return string(out)
}

// seen is what a visitor gets.
type seen struct {
	status      int
	body        string
	certificate string // its serial number
}

// visit starts a release's edge with a configuration, returns what a visitor gets, has do use the edge, and stops it.
func (h *host) visit(t *testing.T, of *release, config string, do func(get func() seen)) seen {
	t.Helper()
	cmd := exec.Command(of.binary, "run", "--config", config)
	cmd.Env = h.env
	edge := harness.StartProcess(t, cmd)
	client := &http.Client{Timeout: 5 * time.Second, Transport: &http.Transport{
		DisableKeepAlives: true,
		DialContext: func(ctx context.Context, network, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, network, net.JoinHostPort("127.0.0.1", h.https))
		},
		TLSClientConfig: &tls.Config{InsecureSkipVerify: true}, // whose certificate it is is compared
	}}
	request := func() (seen, error) {
		resp, err := client.Get("https://" + site + "/")
		if err != nil {
			return seen{}, err
		}
		defer resp.Body.Close()
		body, err := io.ReadAll(resp.Body)
		return seen{resp.StatusCode, string(body), resp.TLS.PeerCertificates[0].SerialNumber.String()}, err
	}
	var first seen
	harness.Eventually(t, "the edge of "+of.name+" serves", func() bool {
		if edge.HasEnded() {
			t.Fatalf("the edge of %s has ended:\n%s", of.name, edge.Output())
		}
		var err error
		first, err = request()
		return err == nil
	})
	if do != nil {
		do(func() seen {
			s, err := request()
			if err != nil {
				t.Error(err)
			}
			return s
		})
	}
	if err := edge.Stop(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(edge.Output()) {
		if strings.Contains(line, `"level":"error"`) && !strings.Contains(line, `"status":503`) || strings.Contains(line, "panic:") {
			t.Errorf("the edge of %s with %s: %s", of.name, config, line)
		}
	}
	return first
}

// TestStateAndConfigurationOfAnotherRelease has two releases serve a host in turn. Each finds the certificates and the maintenance that the other has left.
func TestStateAndConfigurationOfAnotherRelease(t *testing.T) {
	revision := os.Getenv("EDGE_TEST_BASE")
	if revision == "" {
		t.Skip("make test-upgrade BASE=REVISION runs it")
	}
	before := older(t, revision)
	after := &release{"this tree", harness.Edge(t), filepath.Join(harness.Root(), "Caddyfile"), ""}
	h := newHost(t)
	config, newConfig := h.configure(t, before), h.configure(t, after)
	h.run(t, after, "validate", "--config", config)
	h.run(t, after, "validate", "--config", before.json)

	maintain := func(of *release, message string) func(func() seen) {
		return func(get func() seen) {
			h.run(t, of, "maintenance", "off")
			if got := get(); got.status != http.StatusOK || got.body != page {
				t.Errorf("%s: after the maintenance, a visitor gets %+v", of.name, got)
			}
			h.run(t, of, "maintenance", "on", "--message", message)
		}
	}
	first := h.visit(t, before, config, func(get func() seen) {
		if got := get(); got.status != http.StatusOK || got.body != page {
			t.Fatalf("%s: a visitor gets %+v", before.name, got)
		}
		h.run(t, before, "maintenance", "on", "--message", "set by the older one")
	})
	for _, step := range []struct {
		name    string
		release *release
		config  string
		says    string
		sets    string
	}{
		{"upgrade with the configuration as it was", after, config, "set by the older one", "set by the newer one"},
		{"back to the older one", before, config, "set by the newer one", "set by the older one again"},
		{"upgrade with the new configuration", after, newConfig, "set by the older one again", "set by the newer one again"},
		{"back with the older configuration", before, config, "set by the newer one again", ""},
	} {
		got := h.visit(t, step.release, step.config, maintain(step.release, step.sets))
		if got.status != http.StatusServiceUnavailable || !strings.Contains(got.body, step.says) {
			t.Errorf("%s: a visitor gets %d %s, want the maintenance that was %s", step.name, got.status, got.body, step.says)
		}
		if got.certificate != first.certificate {
			t.Errorf("%s: another certificate", step.name)
		}
	}
}
