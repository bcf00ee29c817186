package rollout

import (
	"fmt"
	"io"
	"time"
)

// progress tells of the steps of one service's turn: a line for each that is done, and on a terminal one that is written
// again and again while a step lasts. What can't be written is lost: a terminal that is gone must not stop a rollout.
type progress struct {
	out         io.Writer
	isTerminal  bool
	prefix      string
	stepStart   time.Time
	hasLiveLine bool // a line stands there that is to be written over
}

// maxLiveLine is how many characters of a line are shown that is to be written over: one that wraps can't be.
const maxLiveLine = 76

// startStep starts the clock of a step, and says on a terminal what is going on.
func (p *progress) startStep(format string, args ...any) {
	p.stepStart = time.Now()
	p.updateStep(format, args...)
}

// updateStep says on a terminal how far a step is.
func (p *progress) updateStep(format string, args ...any) {
	if p.isTerminal {
		line := []rune(p.prefix + ": " + fmt.Sprintf(format, args...))
		fmt.Fprintf(p.out, "\r\x1b[K%s …", string(line[:min(len(line), maxLiveLine)]))
		p.hasLiveLine = true
	}
}

// finishStep prints the line of a step that is done, with the time it took.
func (p *progress) finishStep(format string, args ...any) {
	p.printLine("%s (%.1fs)", fmt.Sprintf(format, args...), time.Since(p.stepStart).Seconds())
}

// printLine prints a line.
func (p *progress) printLine(format string, args ...any) {
	if p.hasLiveLine {
		fmt.Fprint(p.out, "\r\x1b[K")
		p.hasLiveLine = false
	}
	fmt.Fprintf(p.out, "%s: %s\n", p.prefix, fmt.Sprintf(format, args...))
}
