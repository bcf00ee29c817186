package harness

import (
	"os"
	"strconv"
	"testing"
)

// Count returns how often a test repeats something, or how many of something it has: the value of an environment variable, and a few
// where it is not set.
func Count(t testing.TB, variable string, few int) int {
	t.Helper()
	text := os.Getenv(variable)
	if text == "" {
		return few
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < 1 {
		t.Fatalf("%s is %q, want a number from 1", variable, text)
	}
	return n
}
