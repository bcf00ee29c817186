package backup

import (
	"context"
	"errors"
	"io"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/theworklabs/edge/internal/compose"
)

// twoProcessorDocker is the docker command of an Engine with two processors, which may use the second one or not.
type twoProcessorDocker struct {
	isRestricted bool
	created      []string // the projects of `docker compose up`
}

// Run implements [Docker].
func (d *twoProcessorDocker) Run(_ context.Context, args ...string) (stdout, stderr string, err error) {
	switch {
	case args[0] == "info":
		return "2\n", "", nil
	case slices.Contains(args, "config"):
		return `{"name": "shop", "services": {"db": {"image": "postgres:15"}}}`, "", nil
	case slices.Contains(args, "up"):
		text, err := os.ReadFile(args[slices.Index(args, "--file")+1])
		if err != nil {
			return "", "", err
		}
		d.created = append(d.created, string(text))
		if d.isRestricted && strings.Contains(string(text), "cpuset") {
			return "", "", errors.New("Error response from daemon: Requested CPUs are not available - requested 1-1, available: 0")
		}
	}
	return "", "", nil
}

// Stream implements [Docker].
func (d *twoProcessorDocker) Stream(context.Context, io.Reader, io.Writer, ...string) (string, error) {
	return "", errors.New("unexpected")
}

// TestADrillLeavesHalfOfTheProcessors, as far as the Engine has them.
func TestADrillLeavesHalfOfTheProcessors(t *testing.T) {
	for want, docker := range map[string]*twoProcessorDocker{"1-1": {}, "": {isRestricted: true}} {
		source := &session{docker: docker, progress: &progress{out: io.Discard}, stack: &compose.Stack{Name: "shop"}}
		h := &helper{docker: docker, isDrill: true, processors: "1-1"}
		if _, err := (&Drill{Docker: docker}).createProject(t.Context(), source, t.TempDir(), h); err != nil {
			t.Fatal(err)
		}
		last := docker.created[len(docker.created)-1]
		if h.processors != want || strings.Contains(last, `"cpuset": "1-1"`) != (want != "") || slices.Contains(h.limits(), "--cpuset-cpus") != (want != "") {
			t.Errorf("the processors are %q, want %q; the limits %v; the project is\n%s", h.processors, want, h.limits(), last)
		}
	}
	if n := countProcessors(t.Context(), &twoProcessorDocker{}); n != 2 {
		t.Errorf("the Engine has %d processors", n)
	}
}
