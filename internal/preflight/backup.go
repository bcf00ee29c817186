package preflight

import (
	"os"

	"github.com/theworklabs/edge/internal/backup"
	"github.com/theworklabs/edge/internal/hint"
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

func isDirectory(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.IsDir()
}
