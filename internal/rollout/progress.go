package rollout

import (
	"fmt"
	"io"
	"time"
)

// progress prints the steps of one service's rollout: a line for each finished step and, on a terminal, a live line that is
// overwritten while a step lasts. It ignores errors of the writer: a closed terminal must not stop a rollout.
type progress struct {
	out         io.Writer
	isTerminal  bool
	prefix      string
	stepStart   time.Time
	hasLiveLine bool // a live line has been printed, and not yet been overwritten
}

// maxLiveLine is the length of a live line in characters. A line that wraps cannot be overwritten.
const maxLiveLine = 76

// startStep starts the clock of a step, and prints a live line on a terminal.
func (p *progress) startStep(format string, args ...any) {
	p.stepStart = time.Now()
	p.updateStep(format, args...)
}

// updateStep overwrites the live line on a terminal.
func (p *progress) updateStep(format string, args ...any) {
	if p.isTerminal {
		line := []rune(p.prefix + ": " + fmt.Sprintf(format, args...))
		fmt.Fprintf(p.out, "\r\x1b[K%s …", string(line[:min(len(line), maxLiveLine)]))
		p.hasLiveLine = true
	}
}

// finishStep prints the line of a finished step, with the time that it took.
func (p *progress) finishStep(format string, args ...any) {
	p.printLine("%s (%.1fs)", fmt.Sprintf(format, args...), time.Since(p.stepStart).Seconds())
}

// printLine prints a line, over the live line if there is one.
func (p *progress) printLine(format string, args ...any) {
	if p.hasLiveLine {
		fmt.Fprint(p.out, "\r\x1b[K")
		p.hasLiveLine = false
	}
	fmt.Fprintf(p.out, "%s: %s\n", p.prefix, fmt.Sprintf(format, args...))
}
