package harness

import (
	"slices"
	"strings"
	"testing"
)

// Want is what a test wants of a response. What has the zero value is not checked.
type Want struct {
	Status   int
	Contains string            // a part of the body
	Lacks    string            // what the body must not contain
	Header   map[string]string // name → value; "": the header is missing
}

// CheckGet makes a GET request to the project's edge and returns the response. It fails the test if the response is not as wanted.
func (p *Project) CheckGet(t testing.TB, url string, want Want, header ...string) Response {
	t.Helper()
	if want.Status == 0 && want.Contains == "" && want.Lacks == "" && len(want.Header) == 0 {
		t.Fatalf("GET %s: the test wants nothing of the response", url)
	}
	a := p.Get(t, url, header...)
	if want.Status != 0 && a.Status != want.Status {
		t.Errorf("GET %s %q: status %d, want %d: %.200q", url, header, a.Status, want.Status, a.Body)
	}
	if !strings.Contains(a.Body, want.Contains) {
		t.Errorf("GET %s %q: %q is missing in status %d: %.2000q", url, header, want.Contains, a.Status, a.Body)
	}
	if want.Lacks != "" && strings.Contains(a.Body, want.Lacks) {
		t.Errorf("GET %s %q: %q is in status %d: %.2000q", url, header, want.Lacks, a.Status, a.Body)
	}
	for name, value := range want.Header {
		if got := a.Header.Get(name); got != value {
			t.Errorf("GET %s %q: %s is %q, want %q", url, header, name, got, value)
		}
	}
	return a
}

// CheckReplaced fails the test unless there are n containers after a change, and none of them was there before.
func CheckReplaced(t testing.TB, what string, before, after []string, n int) {
	t.Helper()
	if len(after) != n || slices.ContainsFunc(before, func(id string) bool { return slices.Contains(after, id) }) {
		t.Errorf("%s: the containers are %v, want %d others than %v", what, after, n, before)
	}
}

// CheckUnchanged fails the test unless there are containers, and the same before and after.
func CheckUnchanged(t testing.TB, what string, before, after []string) {
	t.Helper()
	if len(before) == 0 || !slices.Equal(before, after) {
		t.Errorf("%s: the containers are %v, want the same as before, %v", what, after, before)
	}
}
