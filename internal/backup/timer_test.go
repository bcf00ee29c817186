package backup

import (
	"strings"
	"testing"
	"time"

	"github.com/theworklabs/edge/internal/compose"
)

func TestJobsOfAProject(t *testing.T) {
	all := jobs(compose.Project{Name: "shop", Directory: "/srv/shop", Files: []string{"/srv/shop/compose.yaml"}}, "front/edge")
	const where = " --project-name shop --project-directory /srv/shop --file /srv/shop/compose.yaml --edge front/edge"
	for i, want := range []string{"edge-backup-shop: backup --wait 50m", "edge-backup-shop-logs: backup logs", "edge-backup-shop-drill: drill random --in-turn --wait 12h"} {
		if got := all[i].Name + ": " + strings.Join(all[i].Args, " "); got != want+where {
			t.Errorf("got %s, want %s", got, want+where)
		}
	}
	if first := time.Date(2026, 11, 22, 4, 41, 0, 0, time.UTC); IsLogicalWeek(first) == IsLogicalWeek(first.AddDate(0, 0, 7)) {
		t.Error("two drills in a row restore the same way")
	}
}
