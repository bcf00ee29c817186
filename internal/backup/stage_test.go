package backup

import (
	"context"
	"errors"
	"io"
	"strings"
	"testing"
	"time"
)

// waitingDocker is the docker command of helpers that begin, and fail when they are released.
type waitingDocker struct {
	begun   chan struct{}
	release chan struct{}
}

// Run implements [Docker].
func (*waitingDocker) Run(context.Context, ...string) (stdout, stderr string, err error) {
	return "", "", nil
}

// Stream implements [Docker].
func (d *waitingDocker) Stream(ctx context.Context, _ io.Reader, _ io.Writer, _ ...string) (string, error) {
	d.begun <- struct{}{}
	select {
	case <-d.release:
		return "", errors.New("released")
	case <-ctx.Done():
		return "", context.Cause(ctx)
	}
}

// TestApplicationsAreStagedAtTheSameTime, but for a drill, which leaves the machine to others.
func TestApplicationsAreStagedAtTheSameTime(t *testing.T) {
	for _, isDrill := range []bool{false, true} {
		docker := &waitingDocker{begun: make(chan struct{}, 4), release: make(chan struct{})}
		r := &restoreRun{
			session: session{docker: docker, progress: &progress{out: io.Discard}}, isDrill: isDrill, helper: &helper{docker: docker}, files: make(map[string]*fileNames),
			targets: []*target{{app: "bigcapital", service: "db", kind: MariaDB}, {app: "bigcapital", service: "cache", kind: Redis}, {app: "corteza", service: "db", kind: Postgres}},
		}
		ended := make(chan error, 1)
		go func() { ended <- r.stageAll(t.Context()) }()
		want := 2
		if isDrill {
			want = 1
		}
		for n := range want {
			select {
			case <-docker.begun:
			case <-time.After(10 * time.Second):
				t.Fatalf("drill: %t: only %d of %d helpers have begun", isDrill, n, want)
			}
		}
		close(docker.release)
		if err := <-ended; err == nil || !strings.Contains(err.Error(), "released") {
			t.Errorf("drill: %t: %v", isDrill, err)
		}
		if n := len(docker.begun); n > 0 {
			t.Errorf("drill: %t: %d helpers more have begun after a failure", isDrill, n)
		}
	}
}
