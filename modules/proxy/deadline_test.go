package proxy

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"
)

// TestADeadlineDoesNotCancelAStartedResponse: an answer that comes at the instant at which it would be too late is either late, or
// is not cancelled.
func TestADeadlineDoesNotCancelAStartedResponse(t *testing.T) {
	for range 1000 {
		ctx, cancel := context.WithCancelCause(t.Context())
		d := newDeadline(time.Microsecond, cancel)
		d.start()
		time.Sleep(time.Microsecond)
		if inTime := d.stop(); inTime && ctx.Err() != nil {
			t.Fatal("the answer was in time, and cancelled")
		}
		d.fire() // by a timer that had gone off already
		if d.fired != (ctx.Err() != nil) {
			t.Fatal("it was stopped, and cancels later")
		}
		cancel(nil)
	}
}

func TestADeadlineIsPausedWhileTheClientSends(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancelCause(t.Context())
		d := newDeadline(time.Second, cancel)
		d.start()
		time.Sleep(900 * time.Millisecond)
		d.pause()
		time.Sleep(time.Hour)
		d.start()
		time.Sleep(900 * time.Millisecond)
		if ctx.Err() != nil {
			t.Fatal("it ran while it was paused")
		}
		time.Sleep(200 * time.Millisecond)
		if !errors.Is(context.Cause(ctx), errResponseTimeout) || d.stop() {
			t.Errorf("%v, want that it is late", context.Cause(ctx))
		}
	})
}
