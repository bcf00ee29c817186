package proxy

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"
)

// TestADeadlineDoesNotCancelAStartedResponse: a response that begins at the instant of the deadline is either late, or not
// canceled.
func TestADeadlineDoesNotCancelAStartedResponse(t *testing.T) {
	for range 1000 {
		ctx, d := withDeadline(t.Context(), time.Microsecond)
		d.start()
		time.Sleep(time.Microsecond)
		inTime := d.stop()
		d.fire() // as a timer that has already expired does
		if isCanceled := ctx.Err() != nil; isCanceled == inTime {
			t.Fatalf("the response was in time: %t, and was canceled: %t", inTime, isCanceled)
		}
		d.release()
	}
}

func TestADeadlineIsPausedWhileTheClientSends(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, d := withDeadline(t.Context(), time.Second)
		d.start()
		time.Sleep(900 * time.Millisecond)
		d.pause()
		time.Sleep(time.Hour)
		d.start()
		time.Sleep(900 * time.Millisecond)
		if ctx.Err() != nil {
			t.Fatal("the timer ran during the pause")
		}
		time.Sleep(200 * time.Millisecond)
		if !errors.Is(context.Cause(ctx), errResponseTimeout) || d.stop() {
			t.Errorf("got %v, want a response timeout", context.Cause(ctx))
		}
	})
}
