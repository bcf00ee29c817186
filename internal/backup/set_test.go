package backup

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/theworklabs/edge/internal/dblog"
	"github.com/theworklabs/edge/internal/hint"
	"github.com/theworklabs/edge/internal/restic"
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

// TestNothingExpiresWhileTheLatestSetHasShrunk: otherwise, hourly backups remove the last sets with the data that is lost.
func TestNothingExpiresWhileTheLatestSetHasShrunk(t *testing.T) {
	var sets []*Set
	for hour := range 10 {
		sets = append(sets, &Set{Time: time.Date(2026, 1, 1, hour, 0, 0, 0, time.UTC), HasShrunk: hour > 5})
	}
	if gone := expired(sets, Retention{Last: 1}); len(gone) > 0 {
		t.Errorf("%d sets expire, want none", len(gone))
	}
	sets[9].HasShrunk = false // the data is back, or it was accepted
	if gone := expired(sets, Retention{Last: 1}); len(gone) != 9 {
		t.Errorf("%d sets expire, want 9", len(gone))
	}
}

// TestSpaceIsFreedOnceADay: meanwhile, no logs can be stored. What failed is tried again by the next backup.
func TestSpaceIsFreedOnceADay(t *testing.T) {
	t.Setenv("XDG_CACHE_HOME", t.TempDir())
	mark := pruneMark(&restic.Repository{URL: "/mnt/a"})
	if mark == pruneMark(&restic.Repository{URL: "/mnt/b"}) || isPruned(mark, time.Now()) {
		t.Fatalf("the mark is %s", mark)
	}
	if err := errors.Join(os.MkdirAll(filepath.Dir(mark), 0o700), os.WriteFile(mark, nil, 0o600)); err != nil {
		t.Fatal(err)
	}
	now := time.Now()
	for after, want := range map[time.Duration]bool{time.Minute: true, 22 * time.Hour: true, 24 * time.Hour: false, -time.Hour: false /* a wrong clock */} {
		if got := isPruned(mark, now.Add(after)); got != want {
			t.Errorf("%v after it: %t", after, got)
		}
	}
}

func TestOnlyOwnOrOldIncompleteSetsAreReaped(t *testing.T) {
	now := time.Now()
	sets := []*Set{
		{Complete: true, Host: "here", manifest: restic.Snapshot{ID: "c"}, snapshots: []string{"complete"}},
		{Host: "here", Time: now, snapshots: []string{"own-1", "own-2"}},
		{Host: "there", Time: now.Add(-time.Hour), snapshots: []string{"under way"}},
		{Host: "there", Time: now.Add(-25 * time.Hour), snapshots: []string{"old"}},
		{Host: "here", Time: now, manifest: restic.Snapshot{ID: "m"}, snapshots: []string{"lacks a part"}},
	}
	if got := strings.Join(reapable(sets, "here", now), " "); got != "own-1 own-2 old" {
		t.Errorf("got %s", got)
	}
	if got := strings.Join(reapable(sets, "here", time.Time{}), " "); got != "own-1 own-2" {
		t.Errorf("where times say nothing: got %s", got)
	}
}

// TestWhatIsAddedToASetHidesNothing: whoever may only add to the repository can store snapshots that say that they are parts of a set.
func TestWhatIsAddedToASetHidesNothing(t *testing.T) {
	snapshot := func(id, tree, part string, more ...string) restic.Snapshot {
		return restic.Snapshot{ID: id, Tree: tree, Tags: append([]string{"edge-backup", "project=shop", "set=a", "app=crm", "part=" + part}, more...)}
	}
	dump, manifest := snapshot("1", "t1", "dump"), snapshot("2", "t2", manifestPart, "parts=1")
	drilled := snapshot("3", "t2", manifestPart, "parts=1", "drilled=x")
	forged := snapshot("4", "t4", manifestPart, "parts=9")
	for _, c := range []struct {
		name           string
		snapshots      []restic.Snapshot
		otherManifests int
		warning        string
	}{
		{"nothing", []restic.Snapshot{dump, manifest, drilled}, 0, ""},
		{"a part of another name", []restic.Snapshot{dump, manifest, snapshot("5", "t5", "x")}, 0, ""},
		{"the part again", []restic.Snapshot{snapshot("0", "t0", "dump"), dump, manifest, snapshot("5", "t5", "dump")}, 0, ""},
		{"another manifest", []restic.Snapshot{dump, manifest, forged}, 1, "the set a of crm has several manifests"},
		{"the manifest with other tags", []restic.Snapshot{dump, manifest, snapshot("6", "t2", manifestPart, "parts=99")}, 0, ""},
		{"another manifest, with an earlier time", []restic.Snapshot{forged, dump, manifest}, 1, "the set a of crm has several manifests"},
		{"nothing, and a part is gone", []restic.Snapshot{manifest}, 0, "the set a of crm lacks parts that it had"},
	} {
		sets := groupSets(c.snapshots, "shop")
		if len(sets) != 1 || len(sets[0].otherManifests) != c.otherManifests {
			t.Fatalf("%s: got %+v", c.name, sets)
		}
		set := sets[0]
		if got := set.damageWarning(); c.warning == "" && (got != "" || !set.Complete) || !strings.HasPrefix(got, c.warning) {
			t.Errorf("%s: complete %t, warning %q", c.name, set.Complete, got)
		}
		if len(reapable(sets, "", time.Now().Add(100*time.Hour))) > 0 {
			t.Errorf("%s: the set is removed", c.name)
		}
		if got := set.snapshotOf(Part{Name: "dump", Snapshot: "1"}); got != "1" {
			t.Errorf("%s: the part is taken from %s", c.name, got)
		}
		if got := set.snapshotOf(Part{Name: "dump", Snapshot: "1"[:1]}); got != "1" {
			t.Errorf("%s: by an abbreviated ID, the part is taken from %s", c.name, got)
		}
		if c.otherManifests == 0 {
			continue
		}
		if !set.Complete {
			t.Errorf("%s: the set is not listed", c.name)
		}
		_, err := loadManifest(t.Context(), nil, set)
		if err == nil || !strings.Contains(err.Error(), "2") || !strings.Contains(err.Error(), "4") || !strings.Contains(hint.Of(err), "restic forget") {
			t.Errorf("%s: %v, hint %q", c.name, err, hint.Of(err))
		}
		if gone := expired([]*Set{set, {ID: "b"}}, Retention{Last: 1}); len(gone) > 0 {
			t.Errorf("%s: the set expires", c.name)
		}
	}
	copied := groupSets([]restic.Snapshot{{ID: "x", Original: "1", Tags: dump.Tags}, {ID: "y", Original: "5", Tags: dump.Tags}}, "shop")[0]
	if got := copied.snapshotOf(Part{Name: "dump", Snapshot: "1"}); got != "x" {
		t.Errorf("a copy: the part is taken from %s", got)
	}
}

// TestTheSetThatWasStoredLastIsKept, also if a clock was wrong: IDs are in the order of storing.
func TestTheSetThatWasStoredLastIsKept(t *testing.T) {
	wrong := &Set{ID: "20270101-000000-a", Time: time.Date(2027, 1, 1, 0, 0, 0, 0, time.UTC)}
	later := &Set{ID: "20270101-000001-b", Time: time.Date(2026, 11, 30, 0, 0, 0, 0, time.UTC)}
	if gone := expired([]*Set{wrong, later}, Retention{Last: 1}); len(gone) != 1 || gone[0] != wrong {
		t.Errorf("%d sets expire", len(gone))
	}
	later.HasShrunk = true
	if gone := expired([]*Set{wrong, later}, Retention{Last: 1}); len(gone) > 0 {
		t.Error("a set expires while the one that was stored last has shrunk")
	}
}

func TestSetIDsSortByTime(t *testing.T) {
	first, second := newSetID(time.Unix(1e9, 0), nil), newSetID(time.Unix(1e9+1, 0), nil)
	if first >= second || !isName(first) {
		t.Errorf("%s, then %s", first, second)
	}
}

// TestASetIsCompleteWithItsManifestAndAllOfItsParts: a tag that was added to a manifest may have left two snapshots of it.
func TestASetIsCompleteWithItsManifestAndAllOfItsParts(t *testing.T) {
	snapshot := func(id, set, app, part string, more ...string) restic.Snapshot {
		return restic.Snapshot{ID: id, Tags: append([]string{"edge-backup", "project=shop", "set=" + set, "app=" + app, "part=" + part}, more...)}
	}
	logs := restic.Snapshot{ID: "l", Tags: []string{"edge-backup", "logs", "project=shop", "until=5", "covers=1", "log.db=c:f:0:f:9:m"}}
	sets := groupSets([]restic.Snapshot{
		snapshot("1", "a", "crm", "dump"), snapshot("2", "a", "crm", "files"), snapshot("3", "a", "crm", manifestPart, "parts=2"),
		snapshot("4", "a", "crm", manifestPart, "parts=2", "drilled=x"),                                                                                        // twice
		snapshot("5", "b", "crm", "dump"), snapshot("6", "b", "crm", manifestPart, "parts=2"), snapshot("7", "b", "crm", manifestPart, "parts=2", "drilled=x"), // a part is gone
		snapshot("8", "c", "crm", "dump"), // no manifest
		snapshot("9", "a", "books", "dump"), snapshot("10", "a", "books", manifestPart, "parts=1", "log.db=:f:9:f:9:m"),
		logs,
	}, "shop")
	var got []string
	for _, s := range sets {
		got = append(got, fmt.Sprintf("%s %s complete=%t drilled=%t %d %d", s.ID, s.App, s.Complete, s.Drilled, len(s.snapshots), len(s.spans)))
	}
	if want := "a books complete=true drilled=false 2 1, a crm complete=true drilled=true 4 0, b crm complete=false drilled=true 3 0, c crm complete=false drilled=false 1 0"; strings.Join(got, ", ") != want {
		t.Errorf("got %s\nwant %s", strings.Join(got, ", "), want)
	}
}

func TestLogsExpireWithTimeOrWhenALaterSnapshotHasThem(t *testing.T) {
	now := time.Date(2026, 11, 26, 12, 0, 0, 0, time.UTC)
	logs := func(id string, hoursAgo int, spans ...string) restic.Snapshot {
		return restic.Snapshot{ID: id, Tags: append([]string{"logs", "covers=1", fmt.Sprintf("until=%d", now.Add(-time.Duration(hoursAgo)*time.Hour).UnixMilli())}, spans...)}
	}
	snapshots := []restic.Snapshot{
		logs("old", 80, "log.db=x:f1:0:f1:9:m"),
		logs("merged", 9, "log.db=x:f1:9:f1:20:m", "log.other=y:g:0:g:5:m"),
		logs("partly merged", 8, "log.db=x:f1:20:f1:30:m", "log.other=z:g:5:g:8:m"),
		logs("merger", 7, "log.db=x:f1:9:f2:0:m", "log.other=y:g:0:g:9:m"),
		logs("last", 6, "log.db=x:f2:0:f2:7:m"),
		{ID: "a set", Tags: []string{"set=a", "app=crm"}},
	}
	if got := strings.Join(expiredLogs(snapshots, now.Add(-72*time.Hour)), ", "); got != "old, merged" {
		t.Errorf("got %s", got)
	}
}

// TestOnlyLogsThatTheSecondRepositoryLacksAreCopied: a copy has another ID. What the retention would remove there is not copied.
func TestOnlyLogsThatTheSecondRepositoryLacksAreCopied(t *testing.T) {
	now := time.Date(2026, 11, 26, 12, 0, 0, 0, time.UTC)
	logs := func(id string, hoursAgo int, span string) restic.Snapshot {
		return restic.Snapshot{ID: id, Tags: []string{"logs", "host=here", "covers=1", fmt.Sprintf("until=%d", now.Add(-time.Duration(hoursAgo)*time.Hour).UnixMilli()), span}}
	}
	all := []restic.Snapshot{
		logs("old", 80, "log.db=x:f1:0:f1:9:m"), logs("copied", 9, "log.db=x:f1:9:f1:20:m"),
		logs("merged", 8, "log.db=x:f1:20:f1:30:m"), logs("merger", 7, "log.db=x:f1:20:f1:40:m"), logs("last", 6, "log.db=x:f1:40:f2:7:m"),
	}
	if got := strings.Join(missingLogs(all, []restic.Snapshot{logs("a copy", 9, "log.db=x:f1:9:f1:20:m")}, now.Add(-72*time.Hour)), ", "); got != "merger, last" {
		t.Errorf("got %s", got)
	}
	if got := missingLogs(all, all, now.Add(-72*time.Hour)); got != nil {
		t.Errorf("got %v", got)
	}
	l := Logs{session: session{settings: &Settings{CopyTo: "/second"}}}
	copies := 0
	for minute := range 60 {
		l.now = now.Add(time.Duration(minute) * time.Minute)
		if l.isTimeToCopy() {
			copies++
		}
	}
	if l.settings.CopyTo = ""; copies != 15 || l.isTimeToCopy() {
		t.Errorf("%d copies in an hour", copies)
	}
}

// TestALaterSetIsTheLatest, whatever the clock says.
func TestALaterSetIsTheLatest(t *testing.T) {
	now := time.Date(2026, 11, 26, 12, 0, 0, 0, time.UTC)
	for _, last := range []string{"", "20261126-110000-abcd", "20261126-120000-zzzz", "20301126-120000-abcd", "other"} {
		var earlier []*Set
		if last != "" {
			earlier = append(earlier, &Set{ID: last})
		}
		if got := newSetID(now, earlier); got <= last && last != "other" || len(got) != 20 {
			t.Errorf("after %s: got %s", last, got)
		}
	}
	sets := []*Set{{ID: "a", App: "crm", Time: now.Add(-time.Hour)}, {ID: "b", App: "crm", Time: now.Add(4 * time.Minute)}}
	if got := clockWarning(sets, now); got != "" {
		t.Errorf("got %s", got)
	}
	if got := clockWarning(append(sets, &Set{ID: "c", App: "crm", Time: now.Add(24 * time.Hour)}), now); !strings.Contains(got, "the set c of crm is of ") {
		t.Errorf("got %s", got)
	}
}

// TestATimeOfAClockThatWasWrongIsCorrected: what a span has that goes further cannot have been read earlier.
func TestATimeOfAClockThatWasWrongIsCorrected(t *testing.T) {
	at := func(minute int) time.Time { return time.Date(2026, 11, 26, 14, minute, 0, 0, time.UTC) }
	stored := func(chain string, to int64, minute int) dblog.Stored {
		return dblog.Stored{Until: at(minute), Span: dblog.Span{Chain: chain, To: dblog.Position{File: "f", Offset: to}}}
	}
	all := []dblog.Stored{
		stored("a", 1, 1), stored("a", 2, 50), // the clock was fast
		stored("a", 3, 2), stored("a", 3, 4) /* nothing new */, stored("a", 4, 5),
		stored("b", 9, 1), // another log
	}
	correctTimes(all)
	var got []string
	for _, s := range all {
		got = append(got, fmt.Sprint(s.Span.Chain, s.Span.To.Offset, "=", s.Until.Minute()))
	}
	if text := strings.Join(got, " "); text != "a1=1 a2=2 a3=2 a3=4 a4=5 b9=1" {
		t.Errorf("got %s", text)
	}
}

func TestSetsOfRemovedApplicationsAreLeftAside(t *testing.T) {
	var out strings.Builder
	s := &session{plan: &Plan{Apps: []App{{Name: "crm"}, {Name: EdgeApp}}}, progress: &progress{out: &out}}
	sets := []*Set{{App: "crm", Complete: true}, {App: "blog", Complete: true}, {App: "blog", Complete: true}, {App: EdgeApp, Complete: true}, {App: "crm"}}
	present := s.presentSets(sets)
	if len(present) != 2 || !strings.Contains(out.String(), "no longer has blog, whose sets") || strings.Count(out.String(), "blog") != 1 {
		t.Errorf("got %d sets, printed %s", len(present), out.String())
	}
}

// TestSetsAreCopiedInGroups: each copy opens two repositories, which takes a second.
func TestSetsAreCopiedInGroups(t *testing.T) {
	set := func(id, app string, complete bool) *Set {
		hour := int(id[0] - '0')
		return &Set{ID: id, App: app, Complete: complete, Time: time.Date(2026, 1, 1, hour, 0, 0, 0, time.UTC), manifest: restic.Snapshot{ID: id + app + "-manifest"}, found: map[string][]restic.Snapshot{
			"a": {{ID: id + app + "-a"}}, "b": {{ID: id + app + "-b"}}, manifestPart: {{ID: id + app + "-manifest"}},
		}}
	}
	sets := []*Set{set("1", "crm", true), set("1", "shop", true), set("2", "crm", true), set("2", "shop", true), set("3", "crm", true)}
	partly := set("2", "crm", false)
	delete(partly.found, "b")
	present := []*Set{set("1", "crm", true), partly, set("3", "crm", true)}
	var got []string
	for _, ids := range missingSets(sets, present, Retention{Last: 9}) {
		got = append(got, strings.Join(ids, " "))
	}
	want := []string{"1shop-a 1shop-b", "1shop-manifest", "2crm-b 2shop-a 2shop-b", "2crm-manifest 2shop-manifest"}
	if !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
	if groups := missingSets(sets, sets, Retention{Last: 9}); len(groups) > 0 {
		t.Errorf("nothing is missing, and %q is copied", groups)
	}
}
