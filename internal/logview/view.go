package logview

import (
	"container/heap"
	"context"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"
)

// View merges lines by time, and writes those that its filters let pass. Set its fields before the first call of Add. Add and Close are safe for
// concurrent use.
type View struct {
	Out     io.Writer
	IsColor bool
	// Follow writes each line soon after it has come. Without it, all lines are written by Close: their order is exact then.
	Follow bool

	// The filters. A line has to pass all of them.
	Errors   bool          // only errors
	Slow     time.Duration // only requests that took at least so long; 0: all lines
	Request  string        // only what is about this request: its ID, that of its trace, or the one that the application has logged
	Services []string      // only lines of these Compose services, and of requests to them; none: all
	Edge     string        // the Compose service that is the edge

	mu    sync.Mutex
	lines lineHeap
	count int      // of all lines so far
	ids   []string // by which the request of Request is known
	width int      // of the longest name of a container so far
	err   error    // of Out
}

// reorderWindow is how long a line waits for older ones of other containers, in a view that follows.
const reorderWindow = 300 * time.Millisecond

// Source says where lines come from, since a container may have any name.
type Source int

// The sources.
const (
	AnyContainer Source = iota // its service is part of its name
	Selected                   // of the services that are wanted
	FromEdge                   // of the edge, which is none of them: only what is about them is wanted
)

// Add adds a line that `docker compose logs --timestamps` has printed.
func (v *View) Add(text string, source Source) {
	l, ok := ParseLine(text)
	if !ok {
		return
	}
	l.source = source
	v.mu.Lock()
	defer v.mu.Unlock()
	v.count++
	heap.Push(&v.lines, arrivedLine{l, time.Now(), v.count})
}

// Run writes lines that have waited long enough, until ctx ends. It is for a view that follows.
func (v *View) Run(ctx context.Context) {
	tick := time.NewTicker(reorderWindow / 3)
	defer tick.Stop()
	for {
		select {
		case now := <-tick.C:
			v.flush(func(l arrivedLine) bool { return now.Sub(l.arrivedAt) >= reorderWindow })
		case <-ctx.Done():
			return
		}
	}
}

// Close writes the lines that are left. It returns the first error of the writer.
func (v *View) Close() error {
	v.mu.Lock()
	for range 2 { // a second time, since the trace of a request may be known only from a later line
		for _, l := range v.lines {
			v.learn(l.Line)
		}
	}
	v.mu.Unlock()
	v.flush(func(arrivedLine) bool { return true })
	return v.err
}

// flush writes the oldest lines, as long as they are due.
func (v *View) flush(isDue func(arrivedLine) bool) {
	v.mu.Lock()
	defer v.mu.Unlock()
	for len(v.lines) > 0 && isDue(v.lines[0]) {
		l := heap.Pop(&v.lines).(arrivedLine).Line
		v.learn(l)
		if v.matches(l) && v.err == nil {
			v.width = max(v.width, len(l.Container))
			_, v.err = io.WriteString(v.Out, l.format(v.width, v.IsColor)+"\n")
		}
	}
}

// learn notes the other IDs of the request that is looked for. The caller holds v.mu.
func (v *View) learn(l Line) {
	if v.Request == "" {
		return
	}
	if v.ids == nil {
		v.ids = []string{v.Request}
	}
	if l.Entry == nil || !v.isOfRequest(l) {
		return
	}
	for _, id := range []string{l.Entry.RequestID, l.Entry.UUID, l.Entry.TraceID} {
		if id != "" && !slices.Contains(v.ids, id) {
			v.ids = append(v.ids, id)
		}
	}
}

func (v *View) isOfRequest(l Line) bool {
	return slices.ContainsFunc(v.ids, func(id string) bool { return strings.Contains(l.Text, id) })
}

func (v *View) matches(l Line) bool {
	switch {
	case v.Errors && !l.IsError():
		return false
	case v.Slow > 0 && (l.Entry == nil || !l.Entry.isAccess || l.Entry.Duration < v.Slow || l.Entry.Status == http.StatusSwitchingProtocols): // a socket is open, not slow
		return false
	case v.Request != "" && !v.isOfRequest(l):
		return false
	case len(v.Services) == 0 || l.source == Selected:
		return true
	case l.source == AnyContainer && slices.Contains(v.Services, l.service()):
		return true
	}
	isEdge := l.source == FromEdge || l.source == AnyContainer && l.service() == v.Edge
	return isEdge && slices.ContainsFunc(v.Services, l.isAbout)
}

// isAbout reports whether an entry of the edge is about a Compose service.
func (l Line) isAbout(service string) bool {
	if l.Entry == nil {
		return false
	}
	about := l.Entry.Service
	if about == "" { // "crm:80: GET /: no container is ready"
		about, _, _ = strings.Cut(l.Entry.Message, ": ")
	}
	for name := range strings.SplitSeq(about, ",") {
		name = name[strings.LastIndexByte(name, '/')+1:] // without its project
		if host, _, _ := strings.Cut(name, ":"); host == service {
			return true
		}
	}
	return false
}

// arrivedLine is a line that waits.
type arrivedLine struct {
	Line
	arrivedAt time.Time
	number    int
}

// lineHeap is a heap of lines, the oldest first. Those of one container with the same time stay in their order.
type lineHeap []arrivedLine

// Len implements [heap.Interface].
func (h lineHeap) Len() int { return len(h) }

// Less implements [heap.Interface].
func (h lineHeap) Less(i, j int) bool {
	if h[i].Time.Equal(h[j].Time) {
		return h[i].number < h[j].number
	}
	return h[i].Time.Before(h[j].Time)
}

// Swap implements [heap.Interface].
func (h lineHeap) Swap(i, j int) { h[i], h[j] = h[j], h[i] }

// Push implements [heap.Interface].
func (h *lineHeap) Push(l any) { *h = append(*h, l.(arrivedLine)) }

// Pop implements [heap.Interface].
func (h *lineHeap) Pop() any {
	last := len(*h) - 1
	l := (*h)[last]
	*h = (*h)[:last]
	return l
}

// LineWriter returns a writer that adds each line that is written to it.
func (v *View) LineWriter(source Source) io.WriteCloser { return &lineWriter{view: v, source: source} }

// lineWriter splits what is written into lines.
type lineWriter struct {
	view   *View
	source Source
	rest   []byte
}

// Write implements [io.Writer].
func (w *lineWriter) Write(p []byte) (int, error) {
	w.rest = append(w.rest, p...)
	for {
		end := slices.Index(w.rest, '\n')
		if end < 0 {
			return len(p), nil
		}
		w.view.Add(string(w.rest[:end]), w.source)
		w.rest = w.rest[end+1:]
	}
}

// Close adds what was written without the end of a line.
func (w *lineWriter) Close() error {
	if len(w.rest) > 0 {
		w.view.Add(string(w.rest), w.source)
		w.rest = nil
	}
	return nil
}
