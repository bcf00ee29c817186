package preflight

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/theworklabs/edge/internal/compose"
	"github.com/theworklabs/edge/internal/recovery"
)

func TestOverdueBackupsAreErrorsIfBackupsAreWanted(t *testing.T) {
	now := time.Date(2026, 11, 29, 12, 0, 0, 0, time.UTC)
	status := func(project string, age time.Duration) *recovery.Status {
		var s *recovery.Status
		return s.With(&recovery.Report{
			Project: project, Time: now.Add(-age), MaxAgeSeconds: 26 * 3600, DrillIntervalSeconds: 8 * 24 * 3600,
			Backups: []recovery.Backup{{App: "crm", Set: "s", RecoveryPoint: now.Add(-age)}},
		})
	}
	const overdue = "shop/crm: the backup is overdue: the last one is of 2026-11-28T06:00:00Z"
	for _, c := range []struct {
		name   string
		status *recovery.Status
		wanted bool // x-edge-backup
		level  Level
		want   string
	}{
		{"all is well", status("shop", time.Hour), true, OK, "shop: backups and drills are as they should be"},
		{"it is overdue", status("shop", 30*time.Hour), true, Error, overdue},
		{"it is overdue, and no backup is wanted", status("shop", 30*time.Hour), false, Note, overdue},
		{"another project's is overdue", status("other", 30*time.Hour), true, Note, "other/crm: the backup is overdue"},
		{"only another project has backups", status("other", time.Hour), true, Error, "the edge knows of no backup of shop"},
		{"there is none", nil, true, Error, "the edge knows of no backup of shop"},
		{"there is none, and none is wanted", nil, false, OK, "no backup was reported to this edge"},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := newFakeHost(t)
			if c.wanted {
				w.backup = jsonObject{"max_age": "26h"}
			}
			text, err := json.Marshal(NewReport(CheckBackups(c.status, now)))
			if err != nil {
				t.Fatal(err)
			}
			w.dockerOutputs["compose ps"] = "1"
			w.dockerOutputs["compose exec"] = string(text)
			expectFinding(t, w.newCheck(t).Run(t.Context()), "backups", c.level, c.want, "")
		})
	}
	if all := judgeBackups(&stack{Stack: new(compose.Stack)}, []Finding{okFinding("storage", "fine")}); len(all) != 1 {
		t.Errorf("got %+v", all)
	}
}
