package backup

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"
)

// daysOf returns the days of sets, as offsets from the first of January.
func daysOf(sets []*Set) string {
	var days []string
	for _, s := range sets {
		days = append(days, fmt.Sprint(s.Time.YearDay()))
	}
	slices.Sort(days)
	return strings.Join(days, " ")
}

func TestRetentionKeepsWholePeriods(t *testing.T) {
	var sets []*Set
	for day := range 90 {
		sets = append(sets, &Set{Time: time.Date(2026, 1, 1, 3, 0, 0, 0, time.UTC).AddDate(0, 0, day)})
	}
	for _, c := range []struct {
		keep    Retention
		drilled int // the day of a set that passed a drill, or 0
		want    string
	}{
		{Retention{Last: 3}, 0, "88 89 90"},
		{Retention{Daily: 2}, 0, "89 90"},
		{Retention{Weekly: 3}, 0, "81 88 90"}, // the Sundays before, and the latest
		{Retention{Monthly: 5}, 0, "31 59 90"},
		{Retention{Last: 1}, 10, "10 90"},
		{Retention{Last: 1, Weekly: 2, Monthly: 2}, 0, "59 88 90"},
	} {
		for _, s := range sets {
			s.Drilled = s.Time.YearDay() == c.drilled
		}
		gone := expired(sets, c.keep)
		kept := slices.DeleteFunc(slices.Clone(sets), func(s *Set) bool { return slices.Contains(gone, s) })
		if got := daysOf(kept); got != c.want {
			t.Errorf("%+v: kept the days %s, want %s", c.keep, got, c.want)
		}
	}
	if gone := expired(nil, Retention{Last: 1}); len(gone) > 0 {
		t.Error("nothing expires")
	}
}

func TestOnlyOwnOrOldIncompleteSetsAreReaped(t *testing.T) {
	now := time.Now()
	sets := []*Set{
		{Complete: true, Host: "here", snapshots: []string{"complete"}},
		{Host: "here", Time: now, snapshots: []string{"own-1", "own-2"}},
		{Host: "there", Time: now.Add(-time.Hour), snapshots: []string{"under way"}},
		{Host: "there", Time: now.Add(-25 * time.Hour), snapshots: []string{"old"}},
	}
	if got := strings.Join(reapable(sets, "here", now), " "); got != "own-1 own-2 old" {
		t.Errorf("got %s", got)
	}
}

func TestSetIDsSortByTime(t *testing.T) {
	first, second := newSetID(time.Unix(1e9, 0)), newSetID(time.Unix(1e9+1, 0))
	if first >= second || !isName(first) {
		t.Errorf("%s, then %s", first, second)
	}
}
