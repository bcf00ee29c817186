package lab

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"strconv"
	"strings"
)

// Memory returns what the processes of a container use, in KiB: the sum of their proportional set sizes, so that what
// workers share counts once. What the kernel keeps for their connections is not in it. It takes root.
func Memory(ctx context.Context, container string) (int, error) {
	out, err := Docker(ctx, "top", container, "-eo", "pid")
	if err != nil {
		return 0, err
	}
	sum := 0
	for _, pid := range strings.Fields(out)[1:] { // the first is the heading
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
		return 0, fmt.Errorf("read the memory of a process (it takes root): %w", err)
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
