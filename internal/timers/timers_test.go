package timers

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/theworklabs/edge/internal/compose"
)

func TestJobsAreUnitsAndCronLines(t *testing.T) {
	project := compose.Project{Name: "shop", Directory: "/srv/my shop", Files: []string{"/srv/my shop/compose.yaml"}}
	drill := Job{Name: "edge-backup-shop-drill", Cron: "41 4 * * 0", Args: append([]string{"drill", "random"}, ProjectFlags(project, "front/edge")...)}
	logs := Job{Name: "edge-backup-shop-logs", Schedule: "*-*-* *:*:00", Cron: "* * * * *", CatchUp: true, Args: append([]string{"backup", "logs"}, ProjectFlags(project, "front/edge")...)}
	const program = "/usr/local/bin/edge"
	for _, want := range []string{
		`ExecStart=/usr/local/bin/edge backup logs --project-name shop --project-directory "/srv/my shop" --file "/srv/my shop/compose.yaml" --edge front/edge` + "\n",
		"WorkingDirectory=/srv/my shop\n", "Type=oneshot\n", "Environment=HOME=%h\n",
	} {
		if got := logs.service(program, project.Directory); !strings.Contains(got, want) {
			t.Errorf("the service is\n%s\nwant %s", got, want)
		}
	}
	if got := drill.CronLine(program); !strings.HasPrefix(got, "41 4 * * 0  root  /usr/local/bin/edge drill random --project-name shop ") {
		t.Errorf("got %s", got)
	}
	if got := logs.timer(); !strings.Contains(got, "OnCalendar=*-*-* *:*:00\n") || !strings.Contains(got, "Persistent=true\n") {
		t.Errorf("the timer is\n%s", got)
	}
	const want = "* * * * *  root  /usr/local/bin/edge backup logs --project-name shop --project-directory '/srv/my shop' --file '/srv/my shop/compose.yaml' --edge front/edge >/dev/null"
	if got := logs.CronLine(program); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	if got := joinUnitWords([]string{"100%", "$HOME", "", `a "b" \c`}); got != `100%% $$HOME "" "a \"b\" \\c"` {
		t.Errorf("got %s", got)
	}
}

// TestSystemdTakesTheUnits of a project whose paths need quotes.
func TestSystemdTakesTheUnits(t *testing.T) {
	if _, err := exec.LookPath("systemd-analyze"); err != nil {
		t.Skip("this machine has no systemd-analyze; where tests/setup has run, it has")
	}
	directory := filepath.Join(t.TempDir(), `100%u "of" it's mine`)
	if err := os.Mkdir(directory, 0o755); err != nil {
		t.Fatal(err)
	}
	program := filepath.Join(t.TempDir(), "edge")
	if err := os.WriteFile(program, []byte("#!/bin/sh\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	var files []string
	units := t.TempDir()
	project := compose.Project{Name: "shop", Directory: directory, Files: []string{filepath.Join(directory, "compose.yaml")}}
	for _, j := range []Job{
		{Name: "edge-backup-shop", Schedule: "*-*-* *:17:00", Args: append([]string{"backup", "--wait", "50m"}, ProjectFlags(project, "")...), About: "Backup of shop"},
		{Name: "edge-registry-shop", Schedule: "Sun *-*-* 03:41:00", Args: append([]string{"registry", "cleanup", "--keep-tags", `^(latest|v[0-9]+\.$)`}, ProjectFlags(project, "")...), About: "Cleanup", StopTimeout: time.Hour},
	} {
		for suffix, text := range map[string]string{".service": j.service(program, directory), ".timer": j.timer()} {
			file := filepath.Join(units, j.Name+suffix)
			if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
				t.Fatal(err)
			}
			files = append(files, file)
		}
	}
	if out, err := exec.Command("systemd-analyze", append([]string{"verify", "--man=no", "--generators=no"}, files...)...).CombinedOutput(); err != nil || strings.Contains(string(out), units) {
		t.Errorf("systemd-analyze verify: %v\n%s", err, out)
	}
}
