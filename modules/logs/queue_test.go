package logs

import (
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
)

// slowWriter writes once it is released.
type slowWriter struct {
	mu       sync.Mutex
	released chan struct{}
	err      error
	got      []string
	isClosed bool
}

func newSlowWriter() *slowWriter { return &slowWriter{released: make(chan struct{})} }

func (w *slowWriter) Write(p []byte) (int, error) {
	<-w.released
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.err != nil {
		return 0, w.err
	}
	w.got = append(w.got, string(p))
	return len(p), nil
}

func (w *slowWriter) Close() error {
	w.isClosed = true
	return nil
}

// TestNobodyWaitsForASlowLog: entries wait in memory, those that exceed the queue are dropped and counted, and the others come in their order.
func TestNobodyWaitsForASlowLog(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, before := newSlowWriter(), Dropped()
		q := newQueue(w, false, 50)
		buffer := make([]byte, 10)
		for i := range 8 {
			copy(buffer, fmt.Sprintf("entry %03d\n", i)) // as zap does, the same buffer each time
			if n, err := q.Write(buffer); n != 10 || err != nil {
				t.Errorf("got %d, %v", n, err)
			}
		}
		if n := Dropped() - before; n != 3 {
			t.Errorf("%d entries are dropped, want 3", n)
		}
		close(w.released)
		time.Sleep(gatherTime)
		synctest.Wait()
		if _, err := q.Write([]byte("after\n")); err != nil {
			t.Error(err)
		}
		if err := q.Close(); err != nil || !w.isClosed {
			t.Errorf("close: %v, the writer is closed: %t", err, w.isClosed)
		}
		if got := strings.Join(w.got, ""); got != "entry 000\nentry 001\nentry 002\nentry 003\nentry 004\nafter\n" {
			t.Errorf("got %q", got)
		}
		if _, err := q.Write([]byte("last words\n")); err != nil || w.got[len(w.got)-1] != "last words\n" {
			t.Errorf("after the close: %v, %q", err, w.got)
		}
	})
}

// TestALogThatIsNotReadEndsInTime.
func TestALogThatIsNotReadEndsInTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, before := newSlowWriter(), Dropped()
		q := newQueue(w, false, 100)
		_, _ = q.Write([]byte("being written\n"))
		time.Sleep(gatherTime)
		synctest.Wait()
		_, _ = q.Write([]byte("waits\n"))
		start := time.Now()
		if err := q.Close(); err == nil || time.Since(start) != flushTimeout {
			t.Errorf("close: %v after %v", err, time.Since(start))
		}
		if n := Dropped() - before; n != 1 {
			t.Errorf("%d entries are dropped, want 1", n)
		}
		start = time.Now()
		if _, err := q.Write([]byte("shutdown complete\n")); err != nil || time.Since(start) > 0 || Dropped()-before != 2 {
			t.Errorf("what the process says last waits %v, %v", time.Since(start), err)
		}
		close(w.released)
	})
}

// TestAFullDiskIsCounted, and entries after it are written.
func TestAFullDiskIsCounted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, before := newSlowWriter(), Dropped()
		w.err = errors.New("no space left on device")
		close(w.released)
		q := newQueue(w, false, 100)
		_, _ = q.Write([]byte("a\n"))
		time.Sleep(gatherTime)
		synctest.Wait()
		w.mu.Lock()
		w.err = nil
		w.mu.Unlock()
		_, _ = q.Write([]byte("b\n"))
		if err := q.Close(); err != nil || Dropped()-before != 1 || len(w.got) != 1 {
			t.Errorf("%v, %d dropped, got %q", err, Dropped()-before, w.got)
		}
	})
}

// fullWriter has room for some bytes.
type fullWriter struct {
	slowWriter
	room int
}

func (w *fullWriter) Write(p []byte) (int, error) {
	n := min(w.room, len(p))
	w.room -= n
	w.got = append(w.got, string(p[:n]))
	if n < len(p) {
		return n, syscall.ENOSPC
	}
	return n, nil
}

// TestALineAfterATornOneIsWhole: the disk becomes full within a line.
func TestALineAfterATornOneIsWhole(t *testing.T) {
	for _, isStream := range []bool{false, true} {
		for room, want := range map[int]string{
			0: "ddd\n", 2: "aa\nddd\n", 3: "aaa\nddd\n", 4: "aaa\nddd\n", 5: "aaa\nb\nddd\n", 6: "aaa\nbb\nddd\n", 12: "aaa\nbbb\nccc\nddd\n",
		} {
			synctest.Test(t, func(t *testing.T) {
				w, before := &fullWriter{room: room}, Dropped()
				q := newQueue(w, isStream, 100)
				_, _ = q.Write([]byte("aaa\n"))
				_, _ = q.Write([]byte("bbb\n"))
				_, _ = q.Write([]byte("ccc\n"))
				time.Sleep(gatherTime)
				synctest.Wait()
				w.room = 100 // somebody has made space
				_, _ = q.Write([]byte("ddd\n"))
				if err := q.Close(); err != nil {
					t.Error(err)
				}
				if got := strings.Join(w.got, ""); got != want {
					t.Errorf("room for %d bytes, a stream: %t: got %q, want %q", room, isStream, got, want)
				}
				if n, want := Dropped()-before, uint64(3-room/4); n != want {
					t.Errorf("room for %d bytes, a stream: %t: %d entries are counted as dropped, want %d", room, isStream, n, want)
				}
			})
		}
	}
}

// TestLastWordsAfterATornLine come on a line of their own, and a line may have another end.
func TestLastWordsAfterATornLine(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := &fullWriter{room: 2}
		q := newQueue(w, false, 100)
		_, _ = q.Write([]byte("aaa\n"))
		if err := q.Close(); err != nil {
			t.Error(err)
		}
		w.room = 100
		if n, err := q.Write([]byte("last words\n")); n != 11 || err != nil || strings.Join(w.got, "") != "aa\nlast words\n" {
			t.Errorf("%d, %v: got %q", n, err, w.got)
		}
	})
	synctest.Test(t, func(t *testing.T) {
		w := &fullWriter{room: 100}
		q := newQueue(w, false, 100)
		_, _ = q.Write([]byte("aaa\x00"))
		_, _ = q.Write([]byte("bbb\x00"))
		if err := q.Close(); err != nil || strings.Join(w.got, "") != "aaa\x00bbb\x00" {
			t.Errorf("%v: got %q", err, w.got)
		}
	})
}

// TestACloseDoesNotWaitForLastWords that nobody reads.
func TestACloseDoesNotWaitForLastWords(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newSlowWriter()
		q := newQueue(w, false, 100)
		q.mu.Lock()
		q.isClosed = true // a close has begun
		q.mu.Unlock()
		go func() { _, _ = q.Write([]byte("last words\n")) }()
		synctest.Wait()
		start := time.Now()
		if err := q.Close(); err != nil || time.Since(start) > flushTimeout {
			t.Errorf("%v after %v", err, time.Since(start))
		}
		close(w.released)
	})
}

// TestEntriesAreWrittenTogetherToAStream, up to a size; each by itself to anything else.
func TestEntriesAreWrittenTogetherToAStream(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		entry := strings.Repeat("x", maxWrite/4-1) + "\n"
		for isStream, want := range map[bool][]int{true: {4, 2}, false: {1, 1, 1, 1, 1, 1}} {
			w, before := newSlowWriter(), Dropped()
			close(w.released)
			q := newQueue(w, isStream, defaultQueueSize)
			for range 6 {
				_, _ = q.Write([]byte(entry))
			}
			time.Sleep(gatherTime)
			synctest.Wait()
			var got []int
			for _, text := range w.got {
				got = append(got, strings.Count(text, "\n"))
			}
			if !slices.Equal(got, want) {
				t.Errorf("a stream: %t: entries in each write: %v, want %v", isStream, got, want)
			}
			w.mu.Lock()
			w.err = errors.New("no space left on device")
			w.mu.Unlock()
			for range 3 {
				_, _ = q.Write([]byte("lost\n"))
			}
			if err := q.Close(); err != nil || Dropped()-before != 3 {
				t.Errorf("a stream: %t: %v, %d entries are dropped, want 3", isStream, err, Dropped()-before)
			}
		}
	})
}

// TestAnEntryIsWrittenSoon, although entries are gathered.
func TestAnEntryIsWrittenSoon(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newSlowWriter()
		close(w.released)
		q := newQueue(w, false, 100)
		for i := range 3 {
			_, _ = q.Write([]byte("a\n"))
			time.Sleep(gatherTime)
			synctest.Wait()
			if len(w.got) != i+1 {
				t.Errorf("%d entries are written, want %d", len(w.got), i+1)
			}
		}
		if err := q.Close(); err != nil {
			t.Error(err)
		}
	})
}

func TestQueueInTheCaddyfile(t *testing.T) {
	for text, want := range map[string]string{
		"queue":                   `0 `,
		"queue {\nsize 1MiB\n}":   `1048576 `,
		"queue {\nwrap stdout\n}": `0 {"output":"stdout"}`,
		"queue {\nwrap file /tmp/a.log {\nroll_disabled\n}\n}": `0 {"filename":"/tmp/a.log","output":"file","roll":false}`,
		"queue stderr":             "wrong argument count",
		"queue {\nsize nothing\n}": `size: "nothing": want a size, such as 8MiB`,
		"queue {\nsize 0\n}":       `size: "0": want a size`,
		"queue {\nwrap nowhere\n}": "module not registered",
		"queue {\ndepth 3\n}":      `unknown option "depth"; there are wrap and size`,
	} {
		q := new(QueueWriter)
		err := q.UnmarshalCaddyfile(caddyfile.NewTestDispenser(text))
		got := fmt.Sprintf("%d %s", q.Size, q.WrappedRaw)
		if err != nil {
			got = err.Error()
		}
		if got != want && !(err != nil && strings.Contains(got, want)) {
			t.Errorf("%s: got %s, want %s", text, got, want)
		}
	}
}

// BenchmarkQueue compares what a request pays for an entry, with a file that takes all.
func BenchmarkQueue(b *testing.B) {
	file, err := os.OpenFile(os.DevNull, os.O_WRONLY, 0)
	if err != nil {
		b.Fatal(err)
	}
	entry := []byte(strings.Repeat("x", 800) + "\n")
	for name, w := range map[string]io.WriteCloser{"file": file, "queue": newQueue(file, false, defaultQueueSize)} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				_, _ = w.Write(entry)
			}
		})
	}
}
