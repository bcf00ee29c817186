package backup

import (
	"context"
	"fmt"
	"slices"
	"time"
)

// compare returns what has shrunk since the last set that had not: a part, or a database's rows, that is less than half of what it was. So each set is reported
// until the data is back, or somebody accepts that it is less.
func (b *appBackup) compare(ctx context.Context, earlier []*Set) (shrunk []string, err error) {
	last := lastWhole(earlier, b.app.Name)
	if last == nil || b.AcceptShrunk {
		return nil, nil
	}
	before, err := loadManifest(ctx, b.repository, last)
	if err != nil {
		if ctx.Err() != nil {
			return nil, err
		}
		b.manifest.Warnings = append(b.manifest.Warnings, fmt.Sprintf("the set %s cannot be compared: %v", last.ID, err))
		return nil, nil
	}
	return compareManifests(before, b.manifest), nil
}

// lastWhole returns the latest set of an application that has not shrunk; nil if there is none.
func lastWhole(sets []*Set, app string) *Set {
	for _, s := range slices.Backward(sets) {
		if s.App == app && !s.HasShrunk && len(s.otherManifests) == 0 {
			return s
		}
	}
	return nil
}

// smallPart is the size of a part that may change by any factor.
const smallPart = 64 << 10

// compareManifests returns what a set has much less of than the one before.
func compareManifests(before, after *Manifest) (shrunk []string) {
	for _, old := range before.Parts {
		i := slices.IndexFunc(after.Parts, func(p Part) bool { return p.Name == old.Name })
		isLog := old.Format == FormatBinlog || old.Format == FormatWALTar
		isQueue := old.Kind == Redis // it empties by itself, and starts empty after a restore
		switch {
		case i < 0 && !isLog:
			shrunk = append(shrunk, fmt.Sprintf("%s is no longer part of the backup", old.Name))
		case i >= 0 && !isLog && !isQueue && old.Size > smallPart && after.Parts[i].Size < old.Size/2:
			shrunk = append(shrunk, fmt.Sprintf("%s has %s, after %s in the set of %s", old.Name, FormatBytes(after.Parts[i].Size), FormatBytes(old.Size), before.Start.Local().Format(time.DateTime)))
		}
	}
	for _, old := range before.Databases {
		i := slices.IndexFunc(after.Databases, func(d Database) bool { return d.Service == old.Service })
		if i >= 0 && after.Databases[i].Rows() < old.Rows()/2 {
			shrunk = append(shrunk, fmt.Sprintf("%s has %d rows, after %d in the set of %s", old.Service, after.Databases[i].Rows(), old.Rows(), before.Start.Local().Format(time.DateTime)))
		}
	}
	return shrunk
}
