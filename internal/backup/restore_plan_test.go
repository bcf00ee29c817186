package backup

import (
	"strings"
	"testing"
	"time"

	"github.com/theworklabs/edge/internal/hint"
)

// A restore to a time takes a set of each application from before it, or none at all: what is left out would keep its data of now.
func TestARestoreToATimeLeavesNoApplicationOut(t *testing.T) {
	day := func(n int) time.Time { return time.Date(2026, 11, n, 12, 0, 0, 0, time.UTC) }
	sets := []*Set{
		{App: "bigcapital", ID: "1", Time: day(1)},
		{App: EdgeApp, ID: "3", Time: day(3)},
		{App: "bigcapital", ID: "3", Time: day(3)},
		{App: "corteza", ID: "3", Time: day(3)},
	}
	run := func(at int, isNewHost bool, apps ...string) (string, error) {
		r := &restoreRun{Restore: &Restore{Set: "latest", Apps: apps, At: day(at), isNewHost: isNewHost}}
		before, err := r.setsBefore(sets)
		var found []string
		for _, s := range before {
			found = append(found, s.App+s.ID)
		}
		return strings.Join(found, " "), err
	}
	for _, c := range []struct {
		at        int
		isNewHost bool
		apps      []string
		want, err string
	}{
		{4, false, nil, "bigcapital1 edge3 bigcapital3 corteza3", ""},
		{2, false, []string{"bigcapital"}, "bigcapital1", ""},
		{2, false, nil, "", "there is no set of corteza of a time before"},
		{2, false, []string{"corteza"}, "", "there is no set of corteza of a time before"},
		{2, true, nil, "", "there is no set of edge and corteza of a time before"},
		{0, false, nil, "", "there is no set of bigcapital and corteza of a time before"},
	} {
		got, err := run(c.at, c.isNewHost, c.apps...)
		if got != c.want || c.err == "" && err != nil || c.err != "" && (err == nil || !strings.Contains(err.Error(), c.err)) {
			t.Errorf("to day %d, new host %t, %v: %q, %v", c.at, c.isNewHost, c.apps, got, err)
		}
		if err != nil && !strings.Contains(hint.Of(err), "a time from ") {
			t.Errorf("hint: %s", hint.Of(err))
		}
	}
}
