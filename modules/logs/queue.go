package logs

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"sync"
	"sync/atomic"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"github.com/dustin/go-humanize"
)

func init() {
	caddy.RegisterModule(new(QueueWriter))
}

// QueueWriter writes log entries in the background, so that no request waits for whoever reads them: by default, a program waits when Docker does not read
// its output. While the reader is slow, entries wait in memory; what exceeds the queue is dropped, and counted.
type QueueWriter struct {
	// The writer. Default: `stderr`.
	WrappedRaw json.RawMessage `json:"wrap,omitempty" caddy:"namespace=caddy.logging.writers inline_key=output"`

	// How many bytes may wait. Default: 8 MiB.
	Size int64 `json:"size,omitempty"`

	wrapped caddy.WriterOpener
}

const (
	defaultQueueSize = 8 << 20
	// flushTimeout is how long the queue is written when the log is closed.
	flushTimeout = 2 * time.Second
)

// dropped counts the entries that the queues of the process have dropped.
var dropped atomic.Uint64

// Dropped returns how many log entries the queues of the process have dropped: because they were full, or because they could not be written.
func Dropped() uint64 { return dropped.Load() }

// CaddyModule returns the Caddy module information.
func (*QueueWriter) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "caddy.logging.writers.queue", New: func() caddy.Module { return new(QueueWriter) }}
}

// Provision loads the writer.
func (q *QueueWriter) Provision(ctx caddy.Context) error {
	switch {
	case q.Size < 0:
		return errors.New("size can't be negative")
	case q.Size == 0:
		q.Size = defaultQueueSize
	}
	q.wrapped = caddy.StderrWriter{}
	if len(q.WrappedRaw) == 0 {
		return nil
	}
	module, err := ctx.LoadModule(q, "WrappedRaw")
	if err != nil {
		return fmt.Errorf("load the writer: %w", err)
	}
	q.wrapped = module.(caddy.WriterOpener)
	return nil
}

// String describes where the entries go.
func (q *QueueWriter) String() string { return "queue of " + q.wrapped.String() }

// WriterKey identifies the writer and its size: logs with the same share a queue.
func (q *QueueWriter) WriterKey() string {
	return fmt.Sprintf("queue:%d:%s", q.Size, q.wrapped.WriterKey())
}

// OpenWriter opens the writer, and starts to write.
func (q *QueueWriter) OpenWriter() (io.WriteCloser, error) {
	w, err := q.wrapped.OpenWriter()
	if err != nil {
		return nil, err
	}
	return newQueue(w, caddy.IsWriterStandardStream(q.wrapped), q.Size), nil
}

// queue is an open [QueueWriter]. It is safe for concurrent use.
type queue struct {
	to       io.WriteCloser
	isStream bool // entries can be written together
	size     int64
	isTorn   bool // the last line that was written has no end; run uses it, and then the last words

	last     sync.Mutex // while what comes after the close is written
	mu       sync.Mutex
	waiting  batch
	taken    int64 // bytes that are being written
	isClosed bool
	isStuck  bool          // nobody reads, and the log is closed
	wake     chan struct{} // has a value if there is something to do
	done     chan struct{} // closed when all is written after a close
}

// batch is entries, one after the other.
type batch struct {
	bytes []byte
	ends  []int // of each entry
}

func newQueue(to io.WriteCloser, isStream bool, size int64) *queue {
	q := &queue{to: to, isStream: isStream, size: size, wake: make(chan struct{}, 1), done: make(chan struct{})}
	go q.run()
	return q
}

// Write adds an entry, or drops it. It never blocks, and never fails. Once the log is closed, and all was written, it writes at once: that is what a process says
// last.
func (q *queue) Write(entry []byte) (int, error) {
	q.mu.Lock()
	bytes := q.taken + int64(len(q.waiting.bytes))
	if q.isClosed && !q.isStuck && bytes == 0 {
		q.mu.Unlock()
		q.last.Lock()
		defer q.last.Unlock()
		return q.writeLines(entry)
	}
	if q.isStuck || bytes+int64(len(entry)) > q.size {
		q.mu.Unlock()
		dropped.Add(1)
		return len(entry), nil
	}
	isFirst := len(q.waiting.ends) == 0
	q.waiting.bytes = append(q.waiting.bytes, entry...) // the caller uses its buffer again
	q.waiting.ends = append(q.waiting.ends, len(q.waiting.bytes))
	q.mu.Unlock()
	if isFirst {
		q.signal()
	}
	return len(entry), nil
}

func (q *queue) signal() {
	select {
	case q.wake <- struct{}{}:
	default:
	}
}

// gatherTime is how long entries are gathered before they are written: to wake a goroutine for each of them costs more than all the rest.
const gatherTime = 2 * time.Millisecond

// run writes entries until the queue is closed and empty.
func (q *queue) run() {
	defer close(q.done)
	var written batch
	for range q.wake {
		if !q.isClosing() {
			time.Sleep(gatherTime)
		}
		for {
			written = q.take(written)
			if len(written.ends) == 0 {
				break
			}
			q.write(written)
		}
		if q.isDone() {
			return
		}
	}
}

// maxWrite is how many bytes are written at once.
const maxWrite = 32 << 10

// write writes entries: to a stream, many at once. To other writers, each by itself, since they may start a new file between two, or send each as a packet.
func (q *queue) write(b batch) {
	start, first := 0, 0
	for i, end := range b.ends {
		if q.isStream && i+1 < len(b.ends) && b.ends[i+1]-start <= maxWrite {
			continue
		}
		if n, _ := q.writeLines(b.bytes[start:end]); n < end-start {
			for _, e := range b.ends[first : i+1] {
				if e > start+n {
					dropped.Add(1)
				}
			}
		}
		q.mu.Lock()
		q.taken -= int64(end - start)
		q.mu.Unlock()
		start, first = end, i+1
	}
}

// writeLines writes lines, and returns how many of their bytes were written. A disk that becomes full leaves a part of a line; the next one must not become
// a part of it.
func (q *queue) writeLines(lines []byte) (n int, err error) {
	if !q.isTorn {
		n, err = q.to.Write(lines)
	} else if n, err = q.to.Write(append([]byte{'\n'}, lines...)); n > 0 {
		q.isTorn = false
		n--
	}
	if n > 0 {
		q.isTorn = n < len(lines) && lines[n-1] != '\n'
	}
	return n, err
}

// maxKept is the largest memory that is used again.
const maxKept = 256 << 10

// take returns the entries that wait, and empties the queue, which then uses the memory of entries that have been written.
func (q *queue) take(written batch) batch {
	if cap(written.bytes) > maxKept {
		written = batch{}
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	entries := q.waiting
	q.waiting, q.taken = batch{written.bytes[:0], written.ends[:0]}, int64(len(entries.bytes))
	return entries
}

func (q *queue) isClosing() bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.isClosed
}

func (q *queue) isDone() bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.isClosed && len(q.waiting.ends) == 0
}

// Close writes what waits, for a limited time, and closes the writer.
func (q *queue) Close() error {
	q.mu.Lock()
	q.isClosed = true
	q.mu.Unlock()
	q.signal()
	select {
	case <-q.done:
		return q.to.Close()
	case <-time.After(flushTimeout):
	}
	q.mu.Lock()
	q.isStuck = true
	q.mu.Unlock()
	dropped.Add(uint64(len(q.take(batch{}).ends)))
	return errors.Join(errors.New("the log is not read: its last entries are dropped"), q.to.Close())
}

// UnmarshalCaddyfile reads the output. Syntax:
//
//	output queue {
//		wrap <writer> ...
//		size <size>
//	}
func (q *QueueWriter) UnmarshalCaddyfile(d *caddyfile.Dispenser) error {
	d.Next() // the name
	if d.NextArg() {
		return d.ArgErr()
	}
	for d.NextBlock(0) {
		switch name := d.Val(); name {
		case "size":
			var text string
			if !d.AllArgs(&text) {
				return d.ArgErr()
			}
			size, err := humanize.ParseBytes(text)
			if err != nil || size == 0 || size > 1<<40 {
				return d.Errf("size: %q: want a size, such as 8MiB", text)
			}
			q.Size = int64(size)
		case "wrap":
			if !d.NextArg() {
				return d.ArgErr()
			}
			writer, err := unmarshalWriter(d)
			if err != nil {
				return err
			}
			q.WrappedRaw = writer
		default:
			return d.Errf("queue: unknown option %q; there are wrap and size", name)
		}
	}
	return nil
}

// unmarshalWriter reads a writer, and returns its JSON.
func unmarshalWriter(d *caddyfile.Dispenser) (json.RawMessage, error) {
	name := d.Val()
	switch name {
	case "stdout", "stderr", "discard": // they have no options, and can't be unmarshaled
		return json.Marshal(map[string]string{"output": name})
	}
	id := "caddy.logging.writers." + name
	unmarshaler, err := caddyfile.UnmarshalModule(d, id)
	if err != nil {
		return nil, err
	}
	writer, ok := unmarshaler.(caddy.WriterOpener)
	if !ok {
		return nil, d.Errf("%s is no writer of logs", id)
	}
	return caddyconfig.JSONModuleObject(writer, "output", name, nil), nil
}

// Interface guards
var (
	_ caddy.Provisioner     = (*QueueWriter)(nil)
	_ caddy.WriterOpener    = (*QueueWriter)(nil)
	_ caddyfile.Unmarshaler = (*QueueWriter)(nil)
)
