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

	"github.com/theworklabs/edge/internal/hint"
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

	manifest       restic.Snapshot              // of its manifest; the zero Snapshot if there is none
	otherManifests []string                     // snapshots of other manifests: somebody has added one
	snapshots      []string                     // all of its snapshots
	found          map[string][]restic.Snapshot // part → the snapshots that say so of themselves; all but one were added by somebody
	parts          int                          // how many parts its manifest names
	spans          map[string]string            // where it is in the logs of its databases: see [dblog.Span]
}

// setKey tells the sets of a project apart.
type setKey struct{ id, app string }

func (s *Set) key() setKey { return setKey{s.ID, s.App} }

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
			set.found = make(map[string][]restic.Snapshot)
			found[key] = set
			sets = append(sets, set)
		}
		set.snapshots = append(set.snapshots, s.ID)
		set.found[tags[tagPart]] = append(set.found[tags[tagPart]], s)
		if tags[tagPart] == manifestPart {
			if set.manifest.ID != "" && set.manifest.Tree != s.Tree { // a tag that was added may have left two snapshots of the same manifest
				set.otherManifests = append(set.otherManifests, s.ID)
				continue
			}
			set.Drilled = set.Drilled || tags[tagDrilled] != ""
			set.HasShrunk = set.HasShrunk || tags[tagShrunk] != ""
			parts, _ := strconv.Atoi(tags[tagParts])
			isFirst := set.manifest.ID == ""
			set.manifest = s
			if !isFirst { // of the same content: who may only add could give it other tags
				set.parts = min(set.parts, parts)
				continue
			}
			set.Time, set.spans, set.parts = s.Time, spansOf(s.Tags), parts
			set.Size, _ = strconv.ParseInt(tags[tagSize], 10, 64)
			set.Added, _ = strconv.ParseInt(tags[tagAdded], 10, 64)
		}
	}
	for _, set := range sets {
		// Others may have added more. A set with several manifests is listed, and an attempt to restore it returns an error that names them.
		set.Complete = set.manifest.ID != "" && (len(set.found) > set.parts || len(set.otherManifests) > 0)
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

// loadManifest reads the manifest of a set. Whoever has the password of the repository, and may only add to it, can add another manifest to a set, which says other things of its
// data: then only somebody who sees which of them was stored first can say which one is right.
func loadManifest(ctx context.Context, repository *restic.Repository, set *Set) (*Manifest, error) {
	if len(set.otherManifests) > 0 {
		all := append([]string{set.manifest.ID}, set.otherManifests...)
		return nil, hint.New(fmt.Errorf("the set %s of %s has several manifests, and all but one were added by somebody else: the snapshots %s", set.ID, set.App, strings.Join(all, ", ")),
			"see which of these files was stored first in the directory snapshots of the repository, and remove the others: restic forget SNAPSHOT")
	}
	var text bytes.Buffer
	if err := repository.Load(ctx, set.manifest.ID, manifestPart, &text); err != nil {
		return nil, err
	}
	m, err := parseManifest(text.Bytes())
	if err != nil {
		return nil, fmt.Errorf("set %s of %s: %w", set.ID, set.App, err)
	}
	for i := range m.Parts {
		m.Parts[i].Snapshot = set.snapshotOf(m.Parts[i])
	}
	return m, nil
}

// snapshotOf returns the snapshot that has a part of the set: the one that the manifest names, or a copy of it, which has another ID.
func (s *Set) snapshotOf(p Part) string {
	of := s.found[p.Name]
	for _, isIt := range []func(restic.Snapshot) bool{
		func(c restic.Snapshot) bool { return strings.HasPrefix(c.ID, p.Snapshot) }, // restic 0.14 abbreviates it
		func(c restic.Snapshot) bool { return strings.HasPrefix(c.Original, p.Snapshot) },
	} {
		if i := slices.IndexFunc(of, isIt); i >= 0 && p.Snapshot != "" {
			return of[i].ID
		}
	}
	if len(of) > 0 {
		return of[0].ID // its checksum shows whether it is right
	}
	return p.Snapshot
}

// damageWarning says what somebody has done to a set whose manifest is stored; "" if it is whole.
func (s *Set) damageWarning() string {
	switch {
	case len(s.otherManifests) > 0:
		return fmt.Sprintf("the set %s of %s has several manifests: somebody has added one", s.ID, s.App)
	case s.manifest.ID != "" && !s.Complete && len(s.found[manifestPart]) > 1:
		return fmt.Sprintf("the set %s of %s lacks parts, or somebody has changed the tags of its manifest: see which of the snapshots of the manifest was stored first", s.ID, s.App)
	case s.manifest.ID != "" && !s.Complete:
		return fmt.Sprintf("the set %s of %s lacks parts that it had, and cannot be restored; the rest is removed with: restic forget %s", s.ID, s.App, strings.Join(s.snapshots, " "))
	}
	return ""
}

// foreignGrace is how long an incomplete set of another machine may be a backup that is under way.
const foreignGrace = 24 * time.Hour

// reapable returns the snapshots of sets whose manifest was never stored, and never will be. The caller holds the lock of this machine. A set that has its manifest had all of its
// parts: it is left to a human to say what has become of them.
func reapable(sets []*Set, host string, now time.Time) (snapshots []string) {
	for _, s := range sets {
		if s.manifest.ID == "" && (s.Host == host || now.Sub(s.Time) > foreignGrace) {
			snapshots = append(snapshots, s.snapshots...)
		}
	}
	return snapshots
}

// expired returns the complete sets of one application that its retention does not keep. Always kept are the latest set, and the latest one
// that passed a drill, and sets with several manifests. If the latest set has shrunk, all are kept: those of before may be the only ones with the data that is lost.
func expired(sets []*Set, keep Retention) []*Set {
	sets = slices.Clone(sets)
	slices.SortFunc(sets, func(a, b *Set) int { // the one that was stored last is first, also if a clock was wrong: see newSetID
		return cmp.Or(cmp.Compare(b.ID, a.ID), b.Time.Compare(a.Time))
	})
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
	return slices.DeleteFunc(sets, func(s *Set) bool { return kept[s] || len(s.otherManifests) > 0 })
}
