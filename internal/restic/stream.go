package restic

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"sync/atomic"
	"syscall"
	"time"
)

// Saved is a stream in a repository.
type Saved struct {
	SnapshotID string // restic 0.14 abbreviates it
	Added      int64  // bytes that the repository did not have
}

// Save stores a stream as a snapshot with one file. write writes the stream, and returns nil only if all of it is written: restic takes the
// end of its input for the end of the data. If write fails, no snapshot is created. If this process is killed, there may be one with the beginning of the
// stream.
func (r *Repository) Save(ctx context.Context, file string, tags []string, write func(context.Context, io.Writer) error) (Saved, error) {
	cmd := r.saveCommand(file, tags)
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	input, err := cmd.StdinPipe()
	if err != nil {
		return Saved{}, err
	}
	p, err := r.start(cmd)
	if err != nil {
		return Saved{}, err
	}
	ctx, watch := newStallWatch(ctx, r.stallTimeout())
	defer watch.stop()

	written := make(chan error, 1)
	go func() { written <- write(ctx, io.MultiWriter(input, watch)) }()
	var writeErr error
	isWhole := false
	select {
	case writeErr = <-written:
		isWhole = writeErr == nil
	case <-p.exited: // it fails before the stream ends
		watch.cancel(errors.New("restic has exited before the end of the data"))
		_ = input.Close()
		<-written
	case <-ctx.Done():
		p.interrupt() // before its input ends: see [Repository.Save]
		_ = input.Close()
		writeErr = <-written
	}
	if !isWhole {
		p.interrupt()
		_ = input.Close()
		p.waitOrKill()
		return Saved{}, r.saveError(ctx, p, writeErr, stderr.String())
	}
	watch.setTimeout(finishTimeouts * r.stallTimeout())
	_ = input.Close()
	select {
	case <-p.exited:
	case <-ctx.Done():
		p.stop()
	}
	if p.err != nil {
		return Saved{}, r.result(ctx, "backup", p.err, stderr.String())
	}
	return parseSummary(stdout.Bytes())
}

// SaveText stores a text as a snapshot with one file. Unlike a stream, it is stored as a whole or not at all also if this process is killed meanwhile: restic
// reads it from a file.
func (r *Repository) SaveText(ctx context.Context, file string, tags []string, text []byte) (Saved, error) {
	content, err := os.CreateTemp("", "edge-restic-")
	if err != nil {
		return Saved{}, err
	}
	defer content.Close()
	if err := os.Remove(content.Name()); err != nil {
		return Saved{}, err
	}
	if _, err := content.Write(text); err != nil {
		return Saved{}, err
	}
	if _, err := content.Seek(0, io.SeekStart); err != nil {
		return Saved{}, err
	}
	cmd := r.saveCommand(file, tags)
	var stdout, stderr bytes.Buffer
	cmd.Stdin, cmd.Stdout, cmd.Stderr = content, &stdout, &stderr
	p, err := r.start(cmd)
	if err != nil {
		return Saved{}, err
	}
	ctx, watch := newStallWatch(ctx, finishTimeouts*r.stallTimeout())
	defer watch.stop()
	select {
	case <-p.exited:
	case <-ctx.Done():
		p.stop()
		return Saved{}, r.saveError(ctx, p, nil, stderr.String())
	}
	if p.err != nil {
		return Saved{}, r.result(ctx, "backup", p.err, stderr.String())
	}
	return parseSummary(stdout.Bytes())
}

func (r *Repository) saveCommand(file string, tags []string) *exec.Cmd {
	args := []string{"backup", "--json", "--stdin", "--stdin-filename", file, "--host", "edge"}
	for _, tag := range tags {
		args = append(args, "--tag", tag)
	}
	return r.command(args...)
}

// finishTimeouts is how many stall timeouts restic may take for what it has not uploaded when the stream has ended.
const finishTimeouts = 5

// saveError returns why a stream is not stored: because the caller or the watch ended it, because restic failed by itself, or else because it
// could not be written.
func (r *Repository) saveError(ctx context.Context, p *process, writeErr error, stderr string) error {
	hasLostReader := errors.Is(writeErr, syscall.EPIPE) || errors.Is(writeErr, os.ErrClosed)
	switch cause := context.Cause(ctx); {
	case kindOf(stderr) != Other || cause == nil && hasLostReader:
		cause = p.err
		fallthrough
	case cause != nil && (writeErr == nil || hasLostReader || errors.Is(writeErr, context.Canceled)):
		return &Error{Command: "backup", Repository: r.URL, Kind: kindOf(stderr), Stderr: lastLines(stderr), Err: cause}
	}
	return writeErr
}

// parseSummary reads the summary that `restic backup --json` prints last.
func parseSummary(stdout []byte) (Saved, error) {
	lines := bufio.NewScanner(bytes.NewReader(stdout))
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		var message struct {
			Type       string `json:"message_type"`
			SnapshotID string `json:"snapshot_id"`
			Added      int64  `json:"data_added"`
		}
		if json.Unmarshal(lines.Bytes(), &message) == nil && message.Type == "summary" && message.SnapshotID != "" {
			return Saved{message.SnapshotID, message.Added}, nil
		}
	}
	return Saved{}, errors.New("restic backup has printed no summary: it is not known whether the data is stored")
}

// loadWaitDelay is how long what restic has written may take to reach the writer after it has exited: that waits for its limit, and for what reads it on a busy machine.
const loadWaitDelay = 30 * time.Second

// Load writes the file of a snapshot to w.
func (r *Repository) Load(ctx context.Context, snapshotID, file string, w io.Writer) error {
	cmd := r.command("dump", "--no-lock", snapshotID, "/"+strings.TrimPrefix(file, "/"))
	ctx, watch := newStallWatch(ctx, r.stallTimeout())
	defer watch.stop()
	output, input := io.Pipe()
	var stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = input, &stderr
	cmd.WaitDelay = loadWaitDelay
	p, err := r.start(cmd)
	if err != nil {
		return err
	}
	copied := make(chan error, 1)
	go func() {
		_, err := io.Copy(io.MultiWriter(w, watch), output)
		_ = output.CloseWithError(err) // restic ends if nobody reads what it writes
		copied <- err
	}()
	select {
	case <-p.exited:
	case <-ctx.Done():
		_ = output.CloseWithError(context.Cause(ctx))
		p.stop()
	}
	_ = input.Close()
	if err := <-copied; err != nil && ctx.Err() == nil {
		return err
	}
	return r.result(ctx, "dump", p.err, stderr.String())
}

// stallWatch ends a context when no byte has been written to it for some time.
type stallWatch struct {
	cancel  context.CancelCauseFunc
	timer   *time.Timer
	timeout atomic.Int64 // nanoseconds
}

func newStallWatch(parent context.Context, timeout time.Duration) (context.Context, *stallWatch) {
	ctx, cancel := context.WithCancelCause(parent)
	w := &stallWatch{cancel: cancel}
	w.timeout.Store(int64(timeout))
	w.timer = time.AfterFunc(timeout, func() {
		cancel(fmt.Errorf("nothing has moved for %v", time.Duration(w.timeout.Load())))
	})
	return ctx, w
}

// Write implements io.Writer.
func (w *stallWatch) Write(b []byte) (int, error) {
	w.timer.Reset(time.Duration(w.timeout.Load()))
	return len(b), nil
}

func (w *stallWatch) setTimeout(timeout time.Duration) {
	w.timeout.Store(int64(timeout))
	w.timer.Reset(timeout)
}

func (w *stallWatch) stop() {
	w.timer.Stop()
	w.cancel(nil)
}
