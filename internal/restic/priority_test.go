package restic_test

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/theworklabs/edge/internal/lowpriority"
	"github.com/theworklabs/edge/internal/restic"
)

// TestOnlyARepositoryOfLowPriorityLowersIt: somebody waits for a restore, while a backup runs behind everything else.
func TestOnlyARepositoryOfLowPriorityLowersIt(t *testing.T) {
	t.Setenv(lowpriority.Variable, "19")
	dir := t.TempDir()
	program, out := filepath.Join(dir, "restic"), filepath.Join(dir, "nice")
	own, err := syscall.Getpriority(syscall.PRIO_PROCESS, 0)
	if err != nil {
		t.Fatal(err)
	}
	own = 20 - own // the kernel answers 20 minus the nice value
	// The priority is lowered after the program has started.
	script := "#!/bin/sh\necho '[]'\nfor i in 1 2 3 4 5 6 7 8 9 10; do [ \"$(nice)\" != 19 ] || break; sleep 0.02; done\nnice >" + out + "\n"
	if err := os.WriteFile(program, []byte(script), 0o700); err != nil {
		t.Fatal(err)
	}
	for want, isLow := range map[string]bool{strconv.Itoa(own): false, "19": true} {
		if err := list(t, &restic.Repository{Program: program, URL: dir, IsLowPriority: isLow}); err != nil {
			t.Fatal(err)
		}
		if got, err := os.ReadFile(out); err != nil || strings.TrimSpace(string(got)) != want {
			t.Errorf("low priority: %v: the nice value is %s, want %s (%v)", isLow, got, want, err)
		}
	}
}
