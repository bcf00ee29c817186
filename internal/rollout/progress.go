package rollout

import (
	"fmt"
	"io"
	"time"
)

// progress tells of the steps of one service's turn: a line for each that is done, and on a terminal one that is written
// again and again while a step lasts. What can't be written is lost: a terminal that is gone must not stop a rollout.
type progress struct {
	w       io.Writer
	live    bool
	subject string
	began   time.Time
	pending bool // a line stands there that is to be written over
}

// liveWidth is how many characters of a line are shown that is to be written over: one that wraps can't be.
const liveWidth = 76

// begin starts the clock of a step, and says on a terminal what is going on.
func (p *progress) begin(format string, args ...any) {
	p.began = time.Now()
	p.now(format, args...)
}

// now says on a terminal how far a step is.
func (p *progress) now(format string, args ...any) {
	if p.live {
		line := []rune(p.subject + ": " + fmt.Sprintf(format, args...))
		fmt.Fprintf(p.w, "\r\x1b[K%s …", string(line[:min(len(line), liveWidth)]))
		p.pending = true
	}
}

// done prints the line of a step that is done, with the time it took.
func (p *progress) done(format string, args ...any) {
	p.say("%s (%.1fs)", fmt.Sprintf(format, args...), time.Since(p.began).Seconds())
}

// say prints a line.
func (p *progress) say(format string, args ...any) {
	if p.pending {
		fmt.Fprint(p.w, "\r\x1b[K")
		p.pending = false
	}
	fmt.Fprintf(p.w, "%s: %s\n", p.subject, fmt.Sprintf(format, args...))
}
