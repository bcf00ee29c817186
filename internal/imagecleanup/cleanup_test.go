package imagecleanup

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"

	"github.com/theworklabs/edge/internal/compose"
)

// fakeDocker answers what a cleanup asks, and notes what it does.
type fakeDocker struct {
	running []string          // services
	fails   map[string]string // commands that fail, by a part of them
	calls   []string
	stdin   string
	closed  string // what is in maintenance, as JSON
	isLeft  bool   // the container of a cleanup before is still there

	interrupt   func() // is called in a command with a part
	interruptIn string
}

func (d *fakeDocker) Run(ctx context.Context, args ...string) (string, string, error) {
	var out bytes.Buffer
	stderr, err := d.Stream(ctx, nil, &out, args...)
	return out.String(), stderr, err
}

func (d *fakeDocker) Stream(ctx context.Context, stdin io.Reader, stdout io.Writer, args ...string) (string, error) {
	call := strings.Join(args, " ")
	if stdin != nil {
		text, err := io.ReadAll(stdin)
		if err != nil {
			return "", err
		}
		d.stdin = string(text)
	}
	for part, message := range d.fails {
		if strings.Contains(call, part) {
			return message, errors.New("exit status 1")
		}
	}
	if d.interrupt != nil && strings.Contains(call, d.interruptIn) {
		d.interrupt()
		if ctx.Err() != nil { // the Engine goes on all the same
			return "", ctx.Err()
		}
	}
	switch {
	case strings.HasSuffix(call, "config --format json"):
		fmt.Fprint(stdout, `{"name":"shop","services":{"edge":{},"registry":{}}}`)
	case strings.Contains(call, "maintenance --json"):
		fmt.Fprintf(stdout, `{"services":[%s]}`, d.closed)
	case strings.Contains(call, "shop"+collectorSuffix) && args[0] == "ps":
		if d.isLeft || has(d.calls, " run --rm") {
			fmt.Fprintln(stdout, "collector-id")
		}
	case args[0] == "ps":
		for _, service := range d.running {
			if strings.Contains(call, "com.docker.compose.service="+service) {
				fmt.Fprintln(stdout, service+"-id")
			}
		}
	case args[0] == "inspect" && !strings.Contains(call, "--format"):
		var all []string
		for _, id := range args[3:] {
			all = append(all, fmt.Sprintf(`{"Id":%q,"Name":"/shop","State":{"Status":"running"},"Config":{"Labels":{"com.docker.compose.project.working_dir":"/srv/shop",
				"com.docker.compose.project.config_files":"/srv/shop/compose.yaml,/srv/shop/compose.registry.yaml","com.docker.compose.project.environment_file":"/srv/shop/.env"}}}`, id))
		}
		fmt.Fprintf(stdout, "[%s]", strings.Join(all, ","))
	case args[0] == "inspect":
		fmt.Fprintln(stdout, "running healthy")
	case args[0] == "images":
		fmt.Fprintln(stdout, "sha256:aa\n<none>")
	default:
		d.calls = append(d.calls, call)
		if strings.Contains(call, " run ") {
			fmt.Fprint(stdout, "blob eligible for deletion: sha256:1\nblob eligible for deletion: sha256:2\n")
		}
	}
	return "", nil
}

func run(t *testing.T, d *fakeDocker, dryRun bool) (printed string, err error) {
	t.Helper()
	var out strings.Builder
	err = (&Cleanup{Docker: d, Edge: "edge", Service: "registry", Flags: []string{"--keep", "3"}, DryRun: dryRun, Out: &out}).Run(t.Context())
	return out.String(), err
}

func has(calls []string, part string) bool {
	return slices.ContainsFunc(calls, func(call string) bool { return strings.Contains(call, part) })
}

func TestCleanupStopsTheRegistryWhileTheEdgeHoldsRequests(t *testing.T) {
	d := &fakeDocker{running: []string{"edge", "registry"}}
	printed, err := run(t, d, false)
	if err != nil {
		t.Fatal(err)
	}
	want := []string{
		"info --format {{.ID}}", "edge maintenance on registry --hold", "edge registry delete --service registry --keep 3", "stop --time 70 registry-id", "run --rm --name shop-registry-cleanup --no-deps",
		"rm --force shop-registry-cleanup", "start registry-id", "edge maintenance off registry",
	}
	if len(d.calls) != len(want) {
		t.Fatalf("called %q", d.calls)
	}
	for i := range want {
		if !strings.Contains(d.calls[i], want[i]) {
			t.Errorf("call %d is %q, want %q", i, d.calls[i], want[i])
		}
	}
	if d.stdin != "sha256:aa\n<none>\n" {
		t.Errorf("the edge got the digests %q", d.stdin)
	}
	if printed != "removed 2 layers and manifests from the storage\n" {
		t.Errorf("printed %q", printed)
	}
}

func TestADryRunStopsNothing(t *testing.T) {
	d := &fakeDocker{running: []string{"edge", "registry"}}
	if _, err := run(t, d, true); err != nil {
		t.Fatal(err)
	}
	if len(d.calls) != 1 || !strings.HasSuffix(d.calls[0], "--dry-run") {
		t.Errorf("called %q", d.calls)
	}
}

func TestTheRegistryRunsAgainAfterAFailure(t *testing.T) {
	for _, failing := range []string{"stop --time", " run --rm"} {
		d := &fakeDocker{running: []string{"edge", "registry"}, fails: map[string]string{failing: "no space left on device"}}
		if _, err := run(t, d, false); err == nil || !strings.Contains(err.Error(), "exit status 1") {
			t.Errorf("%s: %v", failing, err)
		}
		if !has(d.calls, "start registry-id") || !has(d.calls, "maintenance off") {
			t.Errorf("%s: called %q", failing, d.calls)
		}
	}
}

// TestAnInterruptionWaitsForWhatItCannotEnd: the Engine stops the registry, and the edge deletes images, also if nobody waits for them any more.
func TestAnInterruptionWaitsForWhatItCannotEnd(t *testing.T) {
	for part, last := range map[string]string{"registry delete": "registry delete", "stop --time": "stop --time 70"} {
		ctx, cancel := context.WithCancel(t.Context())
		d := &fakeDocker{running: []string{"edge", "registry"}, interrupt: cancel, interruptIn: part}
		err := (&Cleanup{Docker: d, Edge: "edge", Service: "registry", Out: io.Discard}).Run(ctx)
		if !errors.Is(err, context.Canceled) {
			t.Errorf("%s: %v", part, err)
		}
		if !has(d.calls, last) || has(d.calls, " run --rm") || !has(d.calls, "maintenance off") {
			t.Errorf("%s: called %q", part, d.calls)
		}
		if part == "stop --time" && !has(d.calls, "start registry-id") {
			t.Errorf("the registry stays stopped: called %q", d.calls)
		}
	}
}

// TestACleanupEndsTheMaintenanceThatAnotherHasLeft when it was killed: it does its work, and opens the registry.
func TestACleanupEndsTheMaintenanceThatAnotherHasLeft(t *testing.T) {
	d := &fakeDocker{running: []string{"edge", "registry"}, closed: `{"service":"shop/registry:5000","message":"The registry removes old images."}`}
	out, err := run(t, d, false)
	if err != nil || !strings.Contains(out, "a cleanup before was killed") || !has(d.calls, "maintenance off registry") {
		t.Errorf("%v: %s\n%q", err, out, d.calls)
	}
}

// TestTwoCleanupsAtOnceAreRefused, as is one beside a rollout of the registry.
func TestTwoCleanupsAtOnceAreRefused(t *testing.T) {
	other := &fakeDocker{running: []string{"edge", "registry"}}
	unlock, err := compose.LockServices(t.Context(), other, "shop", []string{"registry"})
	if err != nil {
		t.Fatal(err)
	}
	defer unlock()
	d := &fakeDocker{running: []string{"edge", "registry"}}
	if _, err := run(t, d, false); err == nil || !strings.Contains(err.Error(), "is under way") || has(d.calls, "maintenance") {
		t.Errorf("got %v, calls %q", err, d.calls)
	}
}

func TestNothingIsDoneIfAStepBeforeFails(t *testing.T) {
	for _, c := range []struct {
		docker *fakeDocker
		want   string
	}{
		{&fakeDocker{running: []string{"edge"}}, "the service registry of the project shop does not run"},
		{&fakeDocker{running: []string{"registry"}}, "the service edge of the project shop does not run"},
		{&fakeDocker{running: []string{"edge", "registry"}, fails: map[string]string{"registry delete": "edge: error: list the repositories: refused"}}, "list the repositories: refused"},
		{&fakeDocker{running: []string{"edge", "registry"}, fails: map[string]string{"maintenance on": ""}}, "exit status 1"},
		{&fakeDocker{running: []string{"edge", "registry"}, closed: `{"service":"shop/registry:5000"}`}, "registry is in maintenance already"},
		{&fakeDocker{running: []string{"edge", "registry", "registry"}}, "the service registry has 2 containers"},
		{&fakeDocker{running: []string{"edge", "registry"}, isLeft: true}, "the container shop-registry-cleanup of a cleanup that was killed is still there"},
	} {
		_, err := run(t, c.docker, false)
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("got %v, want %q", err, c.want)
		}
		if has(c.docker.calls, "stop ") || has(c.docker.calls, "rm ") {
			t.Errorf("%s: called %q", c.want, c.docker.calls)
		}
	}
}

// Interface guard
var _ compose.StreamingDocker = (*fakeDocker)(nil)
