package restic_test

import (
	"bytes"
	"testing"
	"time"
)

// slowWriter takes the first bytes only after a pause.
type slowWriter struct {
	bytes.Buffer
	pause time.Duration
}

// Write implements io.Writer.
func (w *slowWriter) Write(b []byte) (int, error) {
	time.Sleep(w.pause) // what is tested is that this takes long
	w.pause = 0
	return w.Buffer.Write(b)
}

// TestASlowReaderGetsTheEndOfADump: on a busy machine, the end is read seconds after restic has exited.
func TestASlowReaderGetsTheEndOfADump(t *testing.T) {
	forEachVersion(t, func(t *testing.T, program string) {
		t.Parallel()
		r := newRepository(t, program)
		data := randomBytes(60 << 10) // restic exits, because this fits into the pipe, but it is more than one read
		saved := save(t, r, data)
		w := &slowWriter{pause: 6 * time.Second}
		if err := r.Load(t.Context(), saved.SnapshotID, "data", w); err != nil || !bytes.Equal(w.Bytes(), data) {
			t.Errorf("got %d of %d bytes, %v", w.Len(), len(data), err)
		}
	})
}
