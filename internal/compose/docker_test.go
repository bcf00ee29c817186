package compose

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// fakeDocker installs a shell script as docker in PATH.
func fakeDocker(t *testing.T, script string) (dir string) {
	t.Helper()
	dir = t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "docker"), []byte("#!/bin/sh\n"+script), 0o755); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", dir+string(os.PathListSeparator)+os.Getenv("PATH"))
	return dir
}

func TestRunReturnsDockerOutput(t *testing.T) {
	fakeDocker(t, `echo "out $*"; echo err >&2`)
	stdout, stderr, err := CLI{}.Run(t.Context(), "ps", "--all")
	if err != nil || stdout != "out ps --all\n" || stderr != "err\n" {
		t.Errorf("got %q, %q, %v", stdout, stderr, err)
	}
}

func TestFailedCommandErrorHasItsLastLines(t *testing.T) {
	fakeDocker(t, `for i in 1 2 3 4 5 6 7 8 9; do echo "line $i" >&2; echo >&2; done; exit 3`)
	_, _, err := CLI{}.Run(t.Context(), "rm", "x")
	if want := "docker rm x: exit status 3: line 2\nline 3\n"; err == nil || !strings.HasPrefix(err.Error(), want) {
		t.Errorf("got %v, want %s…", err, want)
	}
	t.Setenv("PATH", t.TempDir())
	if _, _, err = (CLI{}).Run(t.Context(), "rm"); err == nil || !strings.Contains(err.Error(), "executable file not found") {
		t.Errorf("without docker in PATH: got %v", err)
	}
}

// TestInterruptReachesChildProcesses: `docker compose` is two processes, and a signal to their group reaches both.
func TestInterruptReachesChildProcesses(t *testing.T) {
	dir := fakeDocker(t, `dir=$(dirname "$0")
sh -c 'trap "touch '"'$(dirname "$0")/child'"'; exit" INT; touch '"'$(dirname "$0")/started'"'; while :; do sleep 0.05; done'
exit 1`)
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() {
		_, _, err := CLI{}.Run(ctx, "compose")
		ended <- err
	}()
	exists := func(name string) bool {
		_, err := os.Stat(filepath.Join(dir, name))
		return err == nil
	}
	for deadline := time.Now().Add(10 * time.Second); !exists("started") && time.Now().Before(deadline); {
		time.Sleep(5 * time.Millisecond)
	}
	cancel()
	if err := <-ended; err == nil {
		t.Error("the interrupted command succeeded")
	}
	if !exists("child") {
		t.Error("the child was not interrupted")
	}
}
