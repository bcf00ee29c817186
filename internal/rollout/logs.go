package rollout

import (
	"context"
	"slices"
	"strings"
)

// logLines is how much is shown of what a container said before it failed.
const logLines = 15

// showLogs prints the last lines of containers' logs, oldest first.
func (t *turn) showLogs(ctx context.Context, all []container) {
	for _, c := range all {
		stdout, stderr, err := t.docker.Run(ctx, "logs", "--timestamps", "--tail", "15", c.ID)
		if err != nil {
			t.say("the log of %s can't be read: %v", c.Name, err)
			continue
		}
		lines := inOrder(stdout + stderr)
		if len(lines) == 0 {
			t.say("%s has logged nothing", c.Name)
			continue
		}
		t.say("the last that %s logged:", c.Name)
		for _, line := range lines[max(0, len(lines)-logLines):] {
			t.say("  %s", line)
		}
	}
}

// inOrder puts lines with Docker's timestamps in order, which are all of one length, and takes these away: what a
// container writes to its two outputs comes apart otherwise.
func inOrder(text string) []string {
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
