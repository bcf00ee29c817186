package backup

import (
	"context"
	"io"

	"golang.org/x/time/rate"
)

// rateBurst is how much passes a limit at once: as much as Docker copies at a time. What passes occupies half a dozen processes, from the database to restic, for a millisecond or two; the
// machine's other work, which waits for them if they have all processors, does not wait longer.
const rateBurst = 32 << 10

// newLimiter returns a limit in bytes per second; nil for 0, which is none.
func newLimiter(bytesPerSecond int64) *rate.Limiter {
	if bytesPerSecond == 0 {
		return nil
	}
	return rate.NewLimiter(rate.Limit(bytesPerSecond), rateBurst)
}

// limitRate returns a writer that passes everything on to w, as fast as the limiter allows, if there is one. What writes to it is slowed down, from the database to the
// repository, so that processors and disk have room for the applications. Write fails when ctx ends.
func limitRate(ctx context.Context, limiter *rate.Limiter, w io.Writer) io.Writer {
	if limiter == nil {
		return w
	}
	return &limitedWriter{ctx, limiter, w}
}

type limitedWriter struct {
	ctx     context.Context
	limiter *rate.Limiter
	w       io.Writer
}

// Write implements io.Writer.
func (w *limitedWriter) Write(b []byte) (written int, err error) {
	for len(b) > 0 {
		chunk := b[:min(len(b), rateBurst)]
		if err := w.limiter.WaitN(w.ctx, len(chunk)); err != nil {
			return written, err
		}
		n, err := w.w.Write(chunk)
		written += n
		if err != nil {
			return written, err
		}
		b = b[n:]
	}
	return written, nil
}
