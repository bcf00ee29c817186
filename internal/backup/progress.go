package backup

import (
	"fmt"
	"io"
	"sync"
	"time"
)

// progress prints a line for each finished step and, on a terminal, a line that shows how much of the current step's data has been read. It
// ignores errors of the writer: a closed terminal must not stop a backup.
type progress struct {
	out        io.Writer
	isTerminal bool

	mu          sync.Mutex
	step        step // that began last
	lastPrint   time.Time
	done        int64 // bytes since then
	hasLiveLine bool
	seconds     map[string]float64 // of each finished step
}

// step is a part of the work, with the time of its beginning.
type step struct {
	name  string
	start time.Time
}

// liveInterval is how often the live line changes.
const liveInterval = 200 * time.Millisecond

// startStep starts the clock of a step that runs alone, and that finishStep ends.
func (p *progress) startStep(format string, args ...any) { p.beginStep(format, args...) }

// beginStep starts the clock of a step that endStep ends. Other steps may run at the same time.
func (p *progress) beginStep(format string, args ...any) step {
	s := step{fmt.Sprintf(format, args...), time.Now()}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.step, p.done = s, 0
	p.printLive()
	return s
}

// Write implements io.Writer. It counts the bytes of the step.
func (p *progress) Write(b []byte) (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.done += int64(len(b))
	if time.Since(p.lastPrint) >= liveInterval {
		p.printLive()
	}
	return len(b), nil
}

// printLive overwrites the live line. p.mu is held.
func (p *progress) printLive() {
	if p.isTerminal {
		fmt.Fprintf(p.out, "\r\x1b[K%s … %s", p.step.name, FormatBytes(p.done))
		p.hasLiveLine, p.lastPrint = true, time.Now()
	}
}

// finishStep prints the line of the step that runs, with its duration.
func (p *progress) finishStep(format string, args ...any) {
	p.mu.Lock()
	s := p.step
	p.mu.Unlock()
	p.endStep(s, format, args...)
}

// endStep prints the line of a finished step, with its duration.
func (p *progress) endStep(s step, format string, args ...any) {
	p.mu.Lock()
	seconds := time.Since(s.start).Seconds()
	if p.seconds == nil {
		p.seconds = make(map[string]float64)
	}
	p.seconds[s.name] += seconds
	p.mu.Unlock()
	p.printLine("%s (%.1fs)", fmt.Sprintf(format, args...), seconds)
}

// printLine prints a line, over the live line if there is one.
func (p *progress) printLine(format string, args ...any) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.hasLiveLine {
		fmt.Fprint(p.out, "\r\x1b[K")
		p.hasLiveLine = false
	}
	fmt.Fprintf(p.out, format+"\n", args...)
}

// FormatBytes returns a number of bytes with a unit, such as 1.2 GB.
func FormatBytes(n int64) string {
	const units = "kMGTPE"
	if n < 1000 {
		return fmt.Sprintf("%d B", n)
	}
	value, i := float64(n)/1000, 0
	for value >= 999.5 && i < len(units)-1 {
		value, i = value/1000, i+1
	}
	if value < 10 {
		return fmt.Sprintf("%.1f %cB", value, units[i])
	}
	return fmt.Sprintf("%.0f %cB", value, units[i])
}
