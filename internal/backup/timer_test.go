package backup

import (
	"strings"
	"testing"

	"github.com/theworklabs/edge/internal/compose"
)

func TestJobsAreUnitsAndCronLines(t *testing.T) {
	project := compose.Project{Name: "shop", Directory: "/srv/my shop", Files: []string{"/srv/my shop/compose.yaml"}}
	all := jobs(project, "front/edge")
	if len(all) != 3 {
		t.Fatalf("got %+v", all)
	}
	logs := all[1]
	const program = "/usr/local/bin/edge"
	for _, want := range []string{
		`ExecStart=/usr/local/bin/edge backup logs --project-name shop --project-directory "/srv/my shop" --file "/srv/my shop/compose.yaml" --edge front/edge` + "\n",
		"WorkingDirectory=/srv/my shop\n", "Type=oneshot\n",
	} {
		if got := logs.service(program, project.Directory); !strings.Contains(got, want) {
			t.Errorf("the service is\n%s\nwant %s", got, want)
		}
	}
	if got := logs.timer(); !strings.Contains(got, "OnCalendar=*-*-* *:*:00\n") || !strings.Contains(got, "Persistent=true\n") {
		t.Errorf("the timer is\n%s", got)
	}
	const want = "* * * * *  root  /usr/local/bin/edge backup logs --project-name shop --project-directory '/srv/my shop' --file '/srv/my shop/compose.yaml' --edge front/edge >/dev/null"
	if got := logs.CronLine(program); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	if got := joinUnitWords([]string{"100%", "$HOME", `a "b" \c`}); got != `100%% $$HOME "a \"b\" \\c"` {
		t.Errorf("got %s", got)
	}
}
