package restic_test

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/theworklabs/edge/internal/lowpriority"
	"github.com/theworklabs/edge/internal/restic"
)

// savingVariable has a repository in the environment of a process that stores a text in it, and is killed meanwhile.
const savingVariable = "EDGE_TEST_SAVE_TO"

func TestMain(m *testing.M) {
	_ = os.Setenv(lowpriority.Variable, "0") // the name is valid; other packages' tests run beside these
	if url := os.Getenv(savingVariable); url != "" {
		r := &restic.Repository{Program: os.Getenv("EDGE_TEST_RESTIC"), URL: url, Password: password}
		if _, err := r.SaveText(context.Background(), "data", nil, wholeText); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

var wholeText = bytes.Repeat([]byte("a text that does not fit into a pipe\n"), 1<<15)

func TestATextIsStoredAsAWholeOrNotAtAll(t *testing.T) {
	forEachVersion(t, func(t *testing.T, program string) {
		r := newRepository(t, program)
		for _, after := range []time.Duration{0, 50 * time.Millisecond, 300 * time.Millisecond, time.Second, time.Minute} {
			cmd := exec.CommandContext(t.Context(), os.Args[0])
			cmd.Env = append(os.Environ(), savingVariable+"="+r.URL, "EDGE_TEST_RESTIC="+program)
			var stderr bytes.Buffer
			cmd.Stderr = &stderr
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			kill := time.AfterFunc(after, func() { _ = cmd.Process.Kill() })
			err := cmd.Wait()
			kill.Stop()
			if after == time.Minute && err != nil {
				t.Fatalf("%v: %s", err, &stderr)
			}
		}
		// Those whose parents were killed may still be at work.
		deadline := time.Now().Add(30 * time.Second)
		for isRunning(r.URL) && time.Now().Before(deadline) {
			time.Sleep(50 * time.Millisecond)
		}
		all, err := r.Snapshots(t.Context())
		if err != nil || len(all) == 0 {
			t.Fatalf("snapshots: %d, %v", len(all), err)
		}
		for _, s := range all {
			if got := load(t, r, s.ID); !bytes.Equal(got, wholeText) {
				t.Errorf("a snapshot has %d bytes of %d", len(got), len(wholeText))
			}
		}
		t.Logf("%d snapshots", len(all))
	})
}

// isRunning reports whether a restic of a repository runs.
func isRunning(url string) bool {
	all, _ := filepath.Glob("/proc/[0-9]*/environ")
	return slices.ContainsFunc(all, func(file string) bool {
		environment, _ := os.ReadFile(file)
		return strings.Contains(string(environment), "RESTIC_REPOSITORY="+url+"\x00")
	})
}
