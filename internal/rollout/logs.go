package rollout

import (
	"context"
	"slices"
	"strings"
)

// logTailLines is how much is shown of what a container said before it failed.
const logTailLines = 15

// showLogs prints the last lines of containers' logs, oldest first.
func (t *serviceRollout) showLogs(ctx context.Context, all []container) {
	for _, c := range all {
		stdout, stderr, err := t.docker.Run(ctx, "logs", "--timestamps", "--tail", "15", c.ID)
		if err != nil {
			t.printLine("the log of %s can't be read: %v", c.Name, err)
			continue
		}
		lines := sortLogLines(stdout + stderr)
		if len(lines) == 0 {
			t.printLine("%s has logged nothing", c.Name)
			continue
		}
		t.printLine("the last that %s logged:", c.Name)
		for _, line := range lines[max(0, len(lines)-logTailLines):] {
			t.printLine("  %s", line)
		}
	}
}

// sortLogLines puts lines with Docker's timestamps in order, which are all of one length, and takes these away: what a
// container writes to its two outputs comes apart otherwise.
func sortLogLines(text string) []string {
	lines := slices.DeleteFunc(strings.Split(text, "\n"), func(line string) bool { return line == "" })
	slices.SortStableFunc(lines, func(a, b string) int {
		at, _, _ := strings.Cut(a, " ")
		bt, _, _ := strings.Cut(b, " ")
		return strings.Compare(at, bt)
	})
	for i, line := range lines {
		_, lines[i], _ = strings.Cut(line, " ")
	}
	return lines
}
