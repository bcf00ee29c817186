package lab

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"strconv"
	"strings"

	"github.com/theworklabs/edge/tests/harness"
)

// Memory returns the memory of a container's processes in KiB: the sum of their proportional set sizes, so that memory which they share
// counts once. It does not include the kernel's memory for their connections. It needs root.
func Memory(ctx context.Context, container string) (int, error) {
	all, err := Processes(ctx, container)
	if err != nil {
		return 0, err
	}
	return ProcessMemory(all)
}

// Processes returns the IDs of a container's processes on this machine.
func Processes(ctx context.Context, container string) ([]string, error) {
	out, err := harness.RunDocker(ctx, "top", container, "-eo", "pid")
	if err != nil {
		return nil, err
	}
	return strings.Fields(out)[1:], nil // the first field is the heading
}

// ProcessMemory returns the memory of processes as [Memory] does.
func ProcessMemory(pids []string) (int, error) {
	sum := 0
	for _, pid := range pids {
		n, err := pss(pid)
		if err != nil {
			return 0, err
		}
		sum += n
	}
	return sum, nil
}

// pss returns the proportional set size of a process in KiB.
func pss(pid string) (int, error) {
	file, err := os.Open("/proc/" + pid + "/smaps_rollup")
	if err != nil {
		return 0, fmt.Errorf("read the memory of a process, which needs root: %w", err)
	}
	defer file.Close()
	lines := bufio.NewScanner(file)
	for lines.Scan() {
		if number, ok := strings.CutPrefix(lines.Text(), "Pss:"); ok {
			return strconv.Atoi(strings.TrimSpace(strings.TrimSuffix(number, " kB")))
		}
	}
	return 0, fmt.Errorf("%s has no Pss", file.Name())
}
