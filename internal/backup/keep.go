package backup

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/theworklabs/edge/internal/hint"
	"github.com/theworklabs/edge/internal/restic"
)

const (
	pruneTimeout = 2 * time.Hour
	copyTimeout  = 12 * time.Hour
)

// removeExpired removes the sets and the logs of the repository that the retention does not keep. It is no failure that the repository takes no
// removals: credentials that can only append protect it.
//
// What has passed a drill is marked in the first repository only; drilled has those sets.
func (b *Backup) removeExpired(ctx context.Context, repository *restic.Repository, drilled map[setKey]bool) error {
	all, err := repository.Snapshots(ctx, tagEdge, tagProject+b.stack.Name)
	if err != nil {
		return err
	}
	latest := make(map[string]*Set)
	byApp := make(map[string][]*Set)
	for _, s := range completeSets(groupSets(all, b.stack.Name)) { // the oldest first
		s.Drilled = s.Drilled || drilled[s.key()]
		latest[s.App], byApp[s.App] = s, append(byApp[s.App], s)
	}
	var manifests, parts []string
	count := 0
	hasShrunk := false
	for app, of := range byApp {
		isPresent := slices.ContainsFunc(b.plan.Apps, func(a App) bool { return a.Name == app })
		hasShrunk = hasShrunk || latest[app].HasShrunk && isPresent
		for _, s := range expired(of, b.options.Keep) {
			for part, of := range s.found {
				for _, snapshot := range of {
					if part == manifestPart {
						manifests = append(manifests, snapshot.ID)
					} else {
						parts = append(parts, snapshot.ID)
					}
				}
			}
			count++
		}
	}
	if !hasShrunk { // else what was lost may be in them
		if err := repository.Forget(ctx, expiredLogs(all, time.Now().Add(-b.options.KeepLogs))...); err != nil {
			b.progress.printLine("warning: old logs could not be removed: %v", err)
		}
	}
	if count == 0 {
		return nil
	}
	b.progress.startStep("remove %d old sets", count)
	ctx, cancel := context.WithTimeout(ctx, pruneTimeout)
	defer cancel()
	// First what makes them sets: if this is interrupted, the rest is seen to be one that was not completed.
	err = repository.Forget(ctx, manifests...)
	if err == nil {
		err = repository.Forget(ctx, parts...)
	}
	if err != nil {
		b.progress.printLine("warning: %d old sets could not be removed: %v", count, err)
		return nil
	}
	b.progress.finishStep("removed %d old sets", count)
	b.prune(ctx, repository)
	return nil
}

// pruneInterval is the time between two prunes of a repository.
const pruneInterval = 23 * time.Hour

// pruneMark returns a file of this user's cache whose time is that of the last prune of a repository.
func pruneMark(repository *restic.Repository) string {
	cache, err := os.UserCacheDir()
	if err != nil {
		return ""
	}
	key := sha256.Sum256([]byte(repository.URL))
	return filepath.Join(cache, "edge", "pruned-"+hex.EncodeToString(key[:8]))
}

// isPruned reports whether the mark is recent. Without a cache, a repository is pruned each time.
func isPruned(mark string, now time.Time) bool {
	info, err := os.Stat(mark)
	return err == nil && now.Sub(info.ModTime()) < pruneInterval && !info.ModTime().After(now)
}

// pruneLock is the end of the name of the lock that keeps a repository from being pruned while it is verified.
const pruneLock = " prune"

// prune frees the space of removed sets. It needs the repository for itself, and may take long: in that time, no logs of databases are stored, so that it is done
// once a day.
func (b *Backup) prune(ctx context.Context, repository *restic.Repository) {
	mark := pruneMark(repository)
	if isPruned(mark, time.Now()) {
		return
	}
	unlock, err := lockProject(b.stack.Name + pruneLock)
	if err != nil {
		b.progress.printLine("note: the space of old sets is freed later: %v", err)
		return
	}
	defer unlock()
	b.progress.startStep("free the space of old sets")
	if err := repository.Prune(ctx); err != nil {
		b.progress.printLine("warning: the space of old sets could not be freed: %v", err)
		return
	}
	b.progress.finishStep("freed the space of old sets")
	if err := errors.Join(os.MkdirAll(filepath.Dir(mark), 0o700), os.WriteFile(mark, nil, 0o600)); mark != "" && err != nil {
		b.progress.printLine("note: the next backup frees space again: %v", err)
	}
}

// copySets copies to the second repository those sets that it does not have, also those of times when it could not be reached, and removes old
// ones there.
func (b *Backup) copySets(ctx context.Context) error {
	if b.settings.CopyTo == "" {
		return nil
	}
	if b.settings.CopyTo == b.settings.Repository {
		return hint.New(fmt.Errorf("%s and %s are the same repository: there is no second copy", repositoryVariable, copyVariable),
			"remove "+copyVariable+" from "+settingsFile+"; edge backup init --copy-to LOCATION creates another one")
	}
	b.progress.startStep("copy to %s", restic.RedactURL(b.settings.CopyTo))
	ctx, cancel := context.WithTimeout(ctx, copyTimeout)
	defer cancel()
	second := b.settings.repository(b.repository.Program, b.settings.CopyTo)
	if err := second.Unlock(ctx); err != nil {
		return fmt.Errorf("copy the set: %w", err)
	}
	missing, err := b.missingIn(ctx, second)
	if err != nil {
		return fmt.Errorf("copy the set: %w", err)
	}
	for _, ids := range missing {
		if err := second.CopyFrom(ctx, b.repository, ids...); err != nil {
			return fmt.Errorf("copy the set: %w", err)
		}
	}
	if err := b.copyLogs(ctx, second); err != nil {
		return err
	}
	b.progress.finishStep("copied to %s", restic.RedactURL(b.settings.CopyTo))
	return b.cleanSecond(ctx, second)
}

// cleanSecond removes old sets from the second repository, and what is left there of sets whose copying was interrupted, and that the first one no longer has.
func (b *Backup) cleanSecond(ctx context.Context, second *restic.Repository) error {
	first, err := listSets(ctx, b.repository, b.stack.Name)
	if err != nil {
		return err
	}
	drilled := make(map[setKey]bool)
	for _, s := range first {
		drilled[s.key()] = s.Drilled
	}
	present, err := listSets(ctx, second, b.stack.Name)
	if err != nil {
		return err
	}
	if host, err := os.Hostname(); err == nil {
		if err := second.Forget(ctx, reapable(present, host, time.Time{})...); err != nil { // of another machine, the time says nothing: it is that of the set
			b.progress.printLine("warning: %v", err)
		}
	}
	return b.removeExpired(ctx, second, drilled)
}

// missingIn returns the snapshots of sets that another repository does not have, in the groups in which they are to be copied: see [missingSets].
func (b *Backup) missingIn(ctx context.Context, second *restic.Repository) (groups [][]string, err error) {
	sets, err := listSets(ctx, b.repository, b.stack.Name)
	if err != nil {
		return nil, err
	}
	sets = completeSets(sets)
	present, err := listSets(ctx, second, b.stack.Name)
	if err != nil {
		return nil, err
	}
	return missingSets(sets, present, b.options.Keep), nil
}

// missingSets returns the snapshots of sets that are not present in another repository: for each ID, the parts that are missing, and then the manifests, as in the backup itself. The sets
// are sorted by their IDs.
func missingSets(sets, present []*Set, keep Retention) (groups [][]string) {
	// What the retention removes there would be copied again and again.
	removed := make(map[*Set]bool)
	for _, s := range sets {
		of := slices.DeleteFunc(slices.Clone(sets), func(other *Set) bool { return other.App != s.App })
		for _, old := range expired(of, keep) {
			removed[old] = true
		}
	}
	var parts, manifests []string
	for n, s := range sets {
		if n > 0 && s.ID != sets[n-1].ID {
			groups = append(groups, parts, manifests)
			parts, manifests = nil, nil
		}
		i := slices.IndexFunc(present, func(other *Set) bool { return other.ID == s.ID && other.App == s.App })
		if removed[s] || i >= 0 && present[i].Complete {
			continue
		}
		for _, part := range sortedKeys(s.found) {
			if part == manifestPart || i >= 0 && len(present[i].found[part]) > 0 {
				continue
			}
			for _, snapshot := range s.found[part] {
				parts = append(parts, snapshot.ID)
			}
		}
		manifests = append(append(manifests, s.manifest.ID), s.otherManifests...)
	}
	groups = append(groups, parts, manifests)
	return slices.DeleteFunc(groups, func(ids []string) bool { return len(ids) == 0 })
}

// copyLogs copies to the second repository those logs that it does not have.
func (s *session) copyLogs(ctx context.Context, second *restic.Repository) error {
	tags := []string{tagEdge, tagLogs, tagProject + s.stack.Name}
	all, err := s.repository.Snapshots(ctx, tags...)
	if err != nil {
		return fmt.Errorf("copy the logs: %w", err)
	}
	present, err := second.Snapshots(ctx, tags...)
	if err != nil {
		return fmt.Errorf("copy the logs: %w", err)
	}
	missing := missingLogs(all, present, time.Now().Add(-s.options.KeepLogs))
	if len(missing) == 0 {
		return nil
	}
	if err := second.CopyFrom(ctx, s.repository, missing...); err != nil {
		return fmt.Errorf("copy the logs: %w", err)
	}
	return nil
}

// missingLogs returns those of the snapshots with logs that are not present in another repository, but for those that the retention would remove.
func missingLogs(all, present []restic.Snapshot, oldest time.Time) (missing []string) {
	known := make(map[string]bool)
	for _, s := range present {
		known[logsKey(s)] = true
	}
	expired := expiredLogs(all, oldest)
	for _, s := range all {
		if !known[logsKey(s)] && !slices.Contains(expired, s.ID) {
			missing = append(missing, s.ID)
		}
	}
	return missing
}

// logsKey is the same for a snapshot with logs and a copy of it, whose ID is another one.
func logsKey(s restic.Snapshot) string {
	tags := parseTags(s.Tags)
	return tags[tagHost] + " " + tags[tagUntil]
}
