package backup

import (
	"fmt"
	"io"
	"strings"
	"sync"
	"time"
)

// progress prints a line for each finished step and, on a terminal, a line that shows how much data has been read: with a bar if it is known how much there
// is. It ignores errors of the writer: a closed terminal must not stop a backup.
type progress struct {
	out        io.Writer
	isTerminal bool

	mu          sync.Mutex
	step        step // that began last
	lastPrint   time.Time
	done        int64 // bytes since then; of all steps if expected is not 0
	expected    int64 // bytes of all steps
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
	p.step = s
	if p.expected == 0 {
		p.done = 0
	}
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

// expect says how many bytes all steps from now on have, about; 0 if that is not known.
func (p *progress) expect(bytes int64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.done, p.expected = 0, bytes
}

// printLive overwrites the live line. p.mu is held.
func (p *progress) printLive() {
	if p.isTerminal {
		fmt.Fprintf(p.out, "\r\x1b[K%s%s … %s", p.bar(), p.step.name, FormatBytes(p.done))
		p.hasLiveLine, p.lastPrint = true, time.Now()
	}
}

// bar returns a bar of what is done, such as "[###-------]  27% ". It is not full before the end, since what is expected is only about right. p.mu is held.
func (p *progress) bar() string {
	if p.expected == 0 {
		return ""
	}
	const width = 10
	percent := min(int(100*p.done/p.expected), 99)
	filled := percent * width / 100
	return fmt.Sprintf("[%s%s] %3d%% ", strings.Repeat("#", filled), strings.Repeat("-", width-filled), percent)
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
