package preflight

import (
	"maps"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/theworklabs/edge/internal/backup"
	"github.com/theworklabs/edge/internal/hint"
	"github.com/theworklabs/edge/internal/recovery"
)

// checkBackup checks that the labels of the services say how their data is stored by `edge backup`. What is missing is an error if the compose
// file has x-edge-backup: then backups are meant to be complete.
func checkBackup(s *stack) []Finding {
	_, isSet, err := backup.ReadOptions(s.Stack)
	if err != nil {
		return []Finding{errorFinding("backup", hint.Of(err), "%v", err)}
	}
	hasLabel := false
	for _, service := range s.Services {
		hasLabel = hasLabel || service.Labels[backup.KindLabel] != "" || service.Labels[backup.AppLabel] != ""
	}
	missing := noteFinding
	if isSet {
		missing = errorFinding
	}
	if !hasLabel {
		return []Finding{missing("backup", "see docs/backup.md", "no service has the label %s: edge backup has nothing to store", backup.KindLabel)}
	}
	plan, err := backup.NewPlan(s.Stack, isDirectory)
	if err != nil {
		return []Finding{errorFinding("backup", hint.Of(err), "%v", err)}
	}
	var all []Finding
	for _, name := range backup.Uncovered(s.Stack, isDirectory) {
		all = append(all, missing("backup", "label a service that mounts it: "+backup.KindLabel+": files, or none if its data can be lost", "edge backup does not store %s", name))
	}
	if len(all) == 0 {
		all = append(all, okFinding("backup", "all volumes have a label (applications: %d)", len(plan.Apps)))
	}
	return all
}

// backupCheck is the name of the findings of [CheckBackups].
const backupCheck = "backups"

// CheckBackups returns what an edge knows of the backups that were reported to it: for each project what needs attention, or that all is well.
func CheckBackups(status *recovery.Status, now time.Time) (all []Finding) {
	if status == nil || len(status.Projects) == 0 {
		return []Finding{okFinding(backupCheck, "no backup was reported to this edge")}
	}
	problems := status.Problems(now)
	for _, name := range slices.Sorted(maps.Keys(status.Projects)) {
		isWell := true
		for _, p := range problems {
			if p.Project != name {
				continue
			}
			isWell = false
			subject := name
			if p.App != "" {
				subject += "/" + p.App
			}
			all = append(all, noteFinding(backupCheck, "run `edge backup`, or `edge drill`, and see what they say; docs/backup.md", "%s: %s", subject, p.Message))
		}
		if isWell {
			all = append(all, okFinding(backupCheck, "%s: backups and drills are as they should be", name))
		}
	}
	return all
}

// judgeBackups makes errors of what the edge has found about the backups of a stack that has x-edge-backup, and of backups of which it knows nothing.
func judgeBackups(s *stack, all []Finding) []Finding {
	if _, isSet, err := backup.ReadOptions(s.Stack); err != nil || !isSet {
		return all
	}
	isKnown := !slices.ContainsFunc(all, func(f Finding) bool { return f.Check == backupCheck }) // the edge is of a version that does not tell
	for i, f := range all {
		if f.Check != backupCheck || !strings.HasPrefix(f.Message, s.Name+":") && !strings.HasPrefix(f.Message, s.Name+"/") {
			continue
		}
		isKnown = true
		if f.Level == Note {
			all[i].Level = Error
		}
	}
	if !isKnown {
		all = append(all, errorFinding(backupCheck, "edge backup, and edge backup init --timer", "the edge knows of no backup of %s", s.Name))
	}
	return all
}

func isDirectory(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.IsDir()
}
