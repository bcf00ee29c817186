package harness

import (
	"os"
	"testing"
)

// IsLong reports whether the long form of a suite runs, which has a target of its own in the Makefile.
func IsLong() bool { return os.Getenv("EDGE_TEST_LONG") != "" }

// LongOnly skips a test that `make test` has no time for. target is the one that runs it.
func LongOnly(t testing.TB, target string) {
	t.Helper()
	if !IsLong() {
		t.Skip("part of the long form: make " + target)
	}
}
