package harness

import (
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
		for deadline := time.Now().Add(5 * time.Second); runtime.NumGoroutine() > before; time.Sleep(10 * time.Millisecond) {
			if time.Now().After(deadline) {
				stacks := make([]byte, 64<<10)
				t.Errorf("%d goroutines, %d before the test\n%s", runtime.NumGoroutine(), before, stacks[:runtime.Stack(stacks, true)])
				return
			}
		}
	})
}
