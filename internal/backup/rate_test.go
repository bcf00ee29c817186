package backup

import (
	"bytes"
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"
)

func TestWritesAreAsFastAsTheLimit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var out bytes.Buffer
		w := limitRate(t.Context(), newLimiter(10<<20), &out)
		start := time.Now()
		text := bytes.Repeat([]byte("0123456789abcdef"), 1<<16) // 1 MiB: more than passes at once
		for range 20 {
			if n, err := w.Write(text); n != len(text) || err != nil {
				t.Fatal(n, err)
			}
		}
		if took := time.Since(start); took < 1900*time.Millisecond || took > 2*time.Second {
			t.Errorf("20 MiB took %v, want almost 2s", took)
		}
		if !bytes.Equal(out.Bytes(), bytes.Repeat(text, 20)) {
			t.Error("the content is another one")
		}
	})
}

func TestWritesWithoutALimit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		if n, err := limitRate(t.Context(), newLimiter(0), new(bytes.Buffer)).Write(make([]byte, 100<<20)); n != 100<<20 || err != nil {
			t.Error(n, err)
		}
		if took := time.Since(start); took > 0 {
			t.Errorf("it took %v", took)
		}
	})
}

func TestLimitedWritesEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		time.AfterFunc(time.Second, cancel)
		var out bytes.Buffer
		n, err := limitRate(ctx, newLimiter(1<<20), &out).Write(make([]byte, 8<<20))
		if !errors.Is(err, context.Canceled) || n != out.Len() || n > 2<<20 {
			t.Errorf("%d of %d bytes were written, with %v", n, out.Len(), err)
		}
		if n, err := limitRate(t.Context(), newLimiter(1<<30), fullWriter{}).Write(make([]byte, 1<<20)); !errors.Is(err, errNoSpace) || n != 7 {
			t.Errorf("got %d, %v", n, err)
		}
	})
}

var errNoSpace = errors.New("full")

// fullWriter takes seven bytes.
type fullWriter struct{}

func (fullWriter) Write([]byte) (int, error) { return 7, errNoSpace }
