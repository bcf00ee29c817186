package harness

import (
	"context"
	"runtime"
	"testing"
	"time"
)

// CheckNoLeaks fails the test if goroutines that it started outlive it. It is the first statement of a test, so that its check
// runs after all other cleanups. It does not work in parallel tests.
func CheckNoLeaks(t testing.TB) {
	t.Helper()
	before := runtime.NumGoroutine()
	t.Cleanup(func() {
		err := EventuallyContext(context.Background(), 5*time.Second, "the test's goroutines have ended", func() bool {
			return runtime.NumGoroutine() <= before
		})
		if err != nil {
			stacks := make([]byte, 64<<10)
			t.Errorf("%v: %d goroutines, %d before the test\n%s", err, runtime.NumGoroutine(), before, stacks[:runtime.Stack(stacks, true)])
		}
	})
}
