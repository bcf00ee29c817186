package backup

import (
	"bytes"
	"cmp"
	"context"
	"crypto/rand"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/theworklabs/edge/internal/restic"
)

// Set is the data of one application at one time. It is complete only if its manifest is stored, and all parts that it names.
type Set struct {
	ID      string    `json:"set"` // the applications of one backup have the same
	Project string    `json:"project"`
	App     string    `json:"app"`
	Host    string    `json:"host"`
	Time    time.Time `json:"time"`  // of its manifest
	Size    int64     `json:"size"`  // bytes of its parts
	Added   int64     `json:"added"` // bytes that it added to the repository
	Drilled bool      `json:"drilled"`
	// HasShrunk says that it has much less data than the set that it was compared with.
	HasShrunk bool `json:"has_shrunk,omitempty"`
	Complete  bool `json:"-"`

	manifest  string            // the snapshot of its manifest
	snapshots []string          // all of its snapshots
	ids       map[string]string // part → its snapshot, which has another ID in a repository to which it was copied
	parts     int               // how many parts its manifest names
	spans     map[string]string // where it is in the logs of its databases: see [dblog.Span]
}

// The tags of snapshots. The manifest's have what `edge backup list` shows, so that it needs not load each manifest.
const (
	tagEdge      = "edge-backup"
	tagProject   = "project="
	tagApp       = "app="
	tagHost      = "host="
	tagSet       = "set="
	tagPart      = "part="
	tagSize      = "size="
	tagAdded     = "added="
	tagParts     = "parts="
	tagDrilled   = "drilled="
	tagShrunk    = "shrunk=" // with the number of parts and databases that have shrunk
	manifestPart = "manifest.json"
)

// setTimeLayout is how IDs of sets begin.
const setTimeLayout = "20060102-150405"

// newSetID returns a set's ID, which sorts after those of the earlier ones: also if the clock has gone back since then, so that the latest set is
// the one that was stored last.
func newSetID(now time.Time, earlier []*Set) string {
	for _, s := range earlier {
		if last, err := time.Parse(setTimeLayout, s.ID[:min(len(s.ID), len(setTimeLayout))]); err == nil && last.After(now.UTC().Truncate(time.Second).Add(-time.Second)) {
			now = last.Add(time.Second)
		}
	}
	return now.UTC().Format(setTimeLayout) + "-" + strings.ToLower(rand.Text()[:4])
}

// clockWarning returns a warning if a set is of a time that has not come yet: this clock is wrong, or was.
func clockWarning(sets []*Set, now time.Time) string {
	for _, s := range sets {
		if s.Time.Sub(now) > clockTolerance {
			return fmt.Sprintf("the set %s of %s is of %s, and this machine's clock says %s: see that it is right", s.ID, s.App, s.Time.Local().Format(time.DateTime), now.Local().Format(time.DateTime))
		}
	}
	return ""
}

// clockTolerance is by how much the clocks of two machines may differ.
const clockTolerance = 5 * time.Minute

// listSets returns the sets of a project, the oldest first, also those that are not complete.
func listSets(ctx context.Context, repository *restic.Repository, project string) ([]*Set, error) {
	snapshots, err := repository.Snapshots(ctx, tagEdge, tagProject+project)
	if err != nil {
		return nil, err
	}
	return groupSets(snapshots, project), nil
}

// groupSets returns the sets that snapshots belong to, the oldest first.
func groupSets(snapshots []restic.Snapshot, project string) (sets []*Set) {
	found := make(map[[2]string]*Set)
	for _, s := range snapshots {
		tags := parseTags(s.Tags)
		if tags[tagSet] == "" {
			continue // such as logs
		}
		key := [2]string{tags[tagSet], tags[tagApp]}
		set := found[key]
		if set == nil {
			set = &Set{ID: tags[tagSet], Project: project, App: tags[tagApp], Host: tags[tagHost], Time: s.Time}
			set.ids = make(map[string]string)
			found[key] = set
			sets = append(sets, set)
		}
		set.snapshots = append(set.snapshots, s.ID)
		set.ids[tags[tagPart]] = s.ID // a tag that was added may have left two snapshots of a manifest
		if tags[tagPart] == manifestPart {
			set.manifest, set.Time, set.spans = s.ID, s.Time, spansOf(s.Tags)
			set.Size, _ = strconv.ParseInt(tags[tagSize], 10, 64)
			set.Added, _ = strconv.ParseInt(tags[tagAdded], 10, 64)
			set.parts, _ = strconv.Atoi(tags[tagParts])
			set.Drilled = set.Drilled || tags[tagDrilled] != ""
			set.HasShrunk = tags[tagShrunk] != ""
		}
	}
	for _, set := range sets {
		set.Complete = set.manifest != "" && len(set.ids) == set.parts+1
	}
	slices.SortStableFunc(sets, func(a, b *Set) int {
		return cmp.Or(cmp.Compare(a.ID, b.ID), cmp.Compare(a.App, b.App))
	})
	return sets
}

// parseTags returns the values of tags by their prefixes, which end with an equals sign.
func parseTags(tags []string) map[string]string {
	values := make(map[string]string)
	for _, tag := range tags {
		if i := strings.Index(tag, "="); i >= 0 {
			values[tag[:i+1]] = tag[i+1:]
		}
	}
	return values
}

// completeSets returns the sets that can be restored.
func completeSets(sets []*Set) []*Set {
	return slices.DeleteFunc(slices.Clone(sets), func(s *Set) bool { return !s.Complete })
}

// loadManifest reads the manifest of a set.
func loadManifest(ctx context.Context, repository *restic.Repository, set *Set) (*Manifest, error) {
	var text bytes.Buffer
	if err := repository.Load(ctx, set.manifest, manifestPart, &text); err != nil {
		return nil, err
	}
	m, err := parseManifest(text.Bytes())
	if err != nil {
		return nil, fmt.Errorf("set %s of %s: %w", set.ID, set.App, err)
	}
	for i := range m.Parts {
		if id := set.ids[m.Parts[i].Name]; id != "" {
			m.Parts[i].Snapshot = id
		}
	}
	return m, nil
}

// foreignGrace is how long an incomplete set of another machine may be a backup that is under way.
const foreignGrace = 24 * time.Hour

// reapable returns the snapshots of sets that will never be complete. The caller holds the lock of this machine.
func reapable(sets []*Set, host string, now time.Time) (snapshots []string) {
	for _, s := range sets {
		if !s.Complete && (s.Host == host || now.Sub(s.Time) > foreignGrace) {
			snapshots = append(snapshots, s.snapshots...)
		}
	}
	return snapshots
}

// expired returns the complete sets of one application that its retention does not keep. Always kept are the latest set, and the latest one
// that passed a drill. If the latest set has shrunk, all are kept: those of before may be the only ones with the data that is lost.
func expired(sets []*Set, keep Retention) []*Set {
	sets = slices.Clone(sets)
	slices.SortFunc(sets, func(a, b *Set) int { return b.Time.Compare(a.Time) }) // the latest first
	if len(sets) > 0 && sets[0].HasShrunk {
		return nil
	}
	kept := make(map[*Set]bool)
	if len(sets) > 0 {
		kept[sets[0]] = true
	}
	if i := slices.IndexFunc(sets, func(s *Set) bool { return s.Drilled }); i >= 0 {
		kept[sets[i]] = true
	}
	for _, rule := range []struct {
		count  int
		period func(time.Time) string // equal for two times of the same period
	}{
		{keep.Last, func(t time.Time) string { return t.String() }},
		{keep.Daily, func(t time.Time) string { return t.Format(time.DateOnly) }},
		{keep.Weekly, func(t time.Time) string { year, week := t.ISOWeek(); return fmt.Sprint(year, week) }},
		{keep.Monthly, func(t time.Time) string { return t.Format("2006-01") }},
	} {
		last, left := "", rule.count
		for _, s := range sets {
			if period := rule.period(s.Time.UTC()); left > 0 && period != last {
				kept[s], last = true, period
				left--
			}
		}
	}
	return slices.DeleteFunc(sets, func(s *Set) bool { return kept[s] })
}
