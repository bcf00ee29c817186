package backup

import (
	"github.com/theworklabs/edge/internal/compose"
	"github.com/theworklabs/edge/internal/timers"
)

// jobs returns what has to run for a project: backups each hour, logs each minute, and a drill each week.
func jobs(project compose.Project, edgeName string) []timers.Job {
	job := func(suffix, schedule, cron, about string, args ...string) timers.Job {
		return timers.Job{Name: "edge-backup-" + project.Name + suffix, Schedule: schedule, Cron: cron, Args: append(args, timers.ProjectFlags(project, edgeName)...), About: about, CatchUp: true}
	}
	return []timers.Job{
		job("", "*-*-* *:17:00", "17 * * * *", "Backup of "+project.Name, "backup", "--wait", "50m"),
		job("-logs", "*-*-* *:*:00", "* * * * *", "Logs of the databases of "+project.Name, "backup", "logs"),
		job("-drill", "Sun *-*-* 04:41:00", "41 4 * * 0", "Drill of the backups of "+project.Name, "drill", "random", "--in-turn", "--wait", "12h"),
	}
}
