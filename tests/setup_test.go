package tests

import (
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// missingOnBareDebian is what `tests/setup --check` reports as missing on a machine that has Debian's essential packages
// and Go. Debian's essential and required packages contain nsenter, umount and mkfs.ext4.
var missingOnBareDebian = []string{
	"git",
	"make",
	"a C compiler with the headers of the C library",
	"a bundle of CA certificates",
	"curl",
	"restic",
	"ip",
	"iptables",
	"systemd-analyze",
	"ps",
	"dockerd",
	"docker",
	"a running Docker Engine",
	"Docker Compose v2.40.3",
	"Node 18 or newer",
	"npm",
	"library socket.io",
	"driver of the browser",
	"Chromium",
	"image debian:bookworm-slim",
	"image edge-test/base:test",
	"image edge-test/mariadb:test",
	"image edge-test/postgres:test",
	"image edge-test/redis:test",
	"image edge-test/nginx:test",
	"image edge-test/haproxy:test",
	"image edge-test/apache:test",
	"image edge-test/systemd:test",
	"image edge-test/registry:test",
	"image edge-test/observability:test",
	"image edge-test/bigcapital-server:test",
	"image edge-test/socketio:test",
	"image edge-test/bigcapital-webapp:test",
	"image edge-test/bigcapital-migration:test",
	"image edge-test/gotenberg:test",
	"image edge-test/corteza:test",
	"image edge-test/corteza-docs:test",
	"image edge-test/generic:test",
	"image edge-test/caddy:test",
}

// TestNodePackagesRunOnDebiansNode: tests/setup installs Debian's Node, but a machine with a newer one does not notice a package that
// Debian's is too old for.
func TestNodePackagesRunOnDebiansNode(t *testing.T) {
	setup, err := os.ReadFile("setup")
	if err != nil {
		t.Fatal(err)
	}
	version := regexp.MustCompile(`'Node (\d+) or newer'`).FindSubmatch(setup)
	if version == nil {
		t.Fatal("tests/setup does not say which Node it wants")
	}
	files, err := filepath.Glob("*/package-lock.json")
	if err != nil || len(files) < 2 {
		t.Fatalf("found %v, %v", files, err)
	}
	oldest := regexp.MustCompile(`\d+`)
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		var lock struct {
			Packages map[string]struct {
				Engines struct{ Node string }
			}
		}
		if err := json.Unmarshal(text, &lock); err != nil {
			t.Fatalf("%s: %v", file, err)
		}
		for name, p := range lock.Packages {
			fits := p.Engines.Node == ""
			for alternative := range strings.SplitSeq(p.Engines.Node, "||") {
				major := oldest.FindString(alternative)
				fits = fits || len(major) < len(version[1]) || len(major) == len(version[1]) && major <= string(version[1])
			}
			if !fits {
				t.Errorf("%s: %s wants Node %s, and tests/setup installs Node %s", file, name, p.Engines.Node, version[1])
			}
		}
	}
}

// TestSetupCheckListsEverythingMissing compares the whole list, so that each requirement of tests/setup has been reported as missing
// once.
func TestSetupCheckListsEverythingMissing(t *testing.T) {
	t.Parallel() // with TestSlowResponseIsNotCutOff, which waits
	goroot, err := exec.Command("go", "env", "GOROOT").Output()
	if err != nil {
		t.Fatal(err)
	}
	withGo := []string{
		"--mount", "type=bind,readonly,target=/usr/local/go,source=" + strings.TrimSpace(string(goroot)),
		"--env", "PATH=/usr/local/go/bin:/usr/sbin:/usr/bin:/sbin:/bin",
	}
	if got := checkBareDebian(t, withGo...); !slices.Equal(got, missingOnBareDebian) {
		t.Errorf("with Go, missing is\n\t%s\nwant\n\t%s", strings.Join(got, "\n\t"), strings.Join(missingOnBareDebian, "\n\t"))
	}
	without := append([]string{"Go " + goVersion(t)}, missingOnBareDebian...)
	if got := checkBareDebian(t); !slices.Equal(got, without) {
		t.Errorf("without Go, missing is\n\t%s\nwant\n\t%s", strings.Join(got, "\n\t"), strings.Join(without, "\n\t"))
	}
}

// checkBareDebian runs `tests/setup --check` in a container of Debian's essential packages and returns what it reports as
// missing, in its order. The flags are those of `docker run`.
func checkBareDebian(t *testing.T, flags ...string) []string {
	t.Helper()
	root, err := filepath.Abs("..")
	if err != nil {
		t.Fatal(err)
	}
	args := []string{
		"run", "--rm", "--network", "none", "--workdir", "/edge", "--mount", "type=bind,readonly,target=/edge,source=" + root,
	}
	dirs, err := filepath.Glob("*/node_modules") // this working directory may have them, a clone does not
	if err != nil {
		t.Fatal(err)
	}
	for _, dir := range dirs {
		args = append(args, "--tmpfs", "/edge/tests/"+dir)
	}
	cmd := exec.Command("docker", append(append(args, flags...), "debian:bookworm-slim", "tests/setup", "--check")...)
	var stderr strings.Builder
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	var exit *exec.ExitError
	if !errors.As(err, &exit) || exit.ExitCode() != 1 {
		t.Errorf("tests/setup --check: %v, want exit status 1", err)
	}
	if want := "edge: error: the end-to-end tests cannot run yet\nedge: hint: run tests/setup\n"; stderr.String() != want {
		t.Errorf("tests/setup --check prints the error\n%s\nwant\n%s", &stderr, want)
	}
	var missing []string
	for line := range strings.Lines(string(out)) {
		if what, found := strings.CutSuffix(strings.TrimPrefix(line, "setup: "), " is missing\n"); found {
			missing = append(missing, what)
		}
	}
	return missing
}

// goVersion returns the version of Go that go.mod requires.
func goVersion(t *testing.T) string {
	t.Helper()
	out, err := exec.Command("go", "list", "-m", "-f", "{{.GoVersion}}").Output()
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(string(out))
}
