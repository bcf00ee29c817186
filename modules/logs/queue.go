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
	return newQueue(w, q.Size), nil
}

// queue is an open [QueueWriter]. It is safe for concurrent use.
type queue struct {
	to   io.WriteCloser
	size int64

	mu       sync.Mutex
	entries  [][]byte
	waiting  int64 // bytes, with those that are being written
	isClosed bool
	isStuck  bool          // nobody reads, and the log is closed
	wake     chan struct{} // has a value if there is something to do
	done     chan struct{} // closed when all is written after a close
}

func newQueue(to io.WriteCloser, size int64) *queue {
	q := &queue{to: to, size: size, wake: make(chan struct{}, 1), done: make(chan struct{})}
	go q.run()
	return q
}

// Write adds an entry, or drops it. It never blocks, and never fails. Once the log is closed, and all was written, it writes at once: that is what a process says
// last.
func (q *queue) Write(entry []byte) (int, error) {
	q.mu.Lock()
	if q.isClosed && !q.isStuck && q.waiting == 0 {
		q.mu.Unlock()
		return q.to.Write(entry)
	}
	if q.isStuck || q.waiting+int64(len(entry)) > q.size {
		q.mu.Unlock()
		dropped.Add(1)
		return len(entry), nil
	}
	q.entries = append(q.entries, append([]byte(nil), entry...)) // the caller uses the buffer again
	q.waiting += int64(len(entry))
	q.mu.Unlock()
	q.signal()
	return len(entry), nil
}

func (q *queue) signal() {
	select {
	case q.wake <- struct{}{}:
	default:
	}
}

// run writes entries until the queue is closed and empty.
func (q *queue) run() {
	defer close(q.done)
	for range q.wake {
		for {
			entries := q.take()
			if len(entries) == 0 {
				break
			}
			for _, entry := range entries {
				if _, err := q.to.Write(entry); err != nil {
					dropped.Add(1)
				}
				q.mu.Lock()
				q.waiting -= int64(len(entry))
				q.mu.Unlock()
			}
		}
		if q.isDone() {
			return
		}
	}
}

// take returns the entries that wait, and empties the queue.
func (q *queue) take() [][]byte {
	q.mu.Lock()
	defer q.mu.Unlock()
	entries := q.entries
	q.entries = nil
	return entries
}

func (q *queue) isDone() bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.isClosed && len(q.entries) == 0
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
	dropped.Add(uint64(len(q.take())))
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
