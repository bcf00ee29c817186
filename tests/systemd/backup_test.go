package systemd

import (
	"strings"
	"testing"
	"time"

	"github.com/theworklabs/edge/tests/harness"
)

// TestBackupsRunByTimers: the command writes units that systemd starts, also with spaces in the project's path. A docker command that only knows the project stands for an Engine.
func TestBackupsRunByTimers(t *testing.T) {
	h := newHost(t)
	h.copy(harness.Tool(t, "restic"), "/usr/local/bin/restic")
	h.mustRun("mkdir", "-p", "/srv/my shop", "/backups")
	h.write("/srv/my shop/compose.yaml", "services: {}\n")
	h.write("/srv/config.json", `{"name": "shop", "services": {"db": {"image": "postgres:15", "labels": {"edge.backup": "postgres"}}}}`)
	h.write("/usr/local/bin/docker", "#!/bin/sh\ncase \"$*\" in *'config --format json'*) cat /srv/config.json ;; esac\n")
	h.mustRun("chmod", "0755", "/usr/local/bin/docker")

	out := h.mustRun("edge", "backup", "init", "--project-directory", "/srv/my shop", "--repository", "/backups", "--timer")
	if !strings.Contains(out, "edge-backup-shop-drill.timer") {
		t.Errorf("the command prints\n%s", out)
	}
	timers := h.mustRun("systemctl", "list-timers", "--no-pager", "--all")
	for _, name := range []string{"edge-backup-shop.timer", "edge-backup-shop-logs.timer", "edge-backup-shop-drill.timer"} {
		if !strings.Contains(timers, name) || h.mustRun("systemctl", "is-enabled", name) != "enabled" {
			t.Errorf("%s does not run:\n%s", name, timers)
		}
	}
	// Each runs in the project's directory, with its arguments, and fails since there is no database: also the logs, by their timer.
	for _, name := range []string{"edge-backup-shop", "edge-backup-shop-drill"} {
		_, _ = h.run("systemctl", "start", name)
	}
	for name, want := range map[string]string{
		"edge-backup-shop": "db does not run", "edge-backup-shop-drill": "the files of the project, and no data of an application", "edge-backup-shop-logs": "db does not run",
	} {
		harness.EventuallyWithin(t, 90*time.Second, name+" has run", func() bool {
			journal, _ := h.run("journalctl", "--no-pager", "--output", "cat", "--unit", name+".service")
			return strings.Contains(journal, want)
		})
	}
	if out := h.mustRun("cat", "/srv/my shop/backup.env"); !strings.Contains(out, "/backups") {
		t.Errorf("backup.env is\n%s", out)
	}
}

// TestTheRegistryIsCleanedUpByATimer: the unit runs the cleanup with the options that it was made with.
func TestTheRegistryIsCleanedUpByATimer(t *testing.T) {
	h := newHost(t)
	h.mustRun("mkdir", "-p", "/srv/my shop")
	h.write("/srv/my shop/compose.yaml", "services: {}\n")
	h.write("/srv/in-use", "sha256:1\n")
	h.write("/srv/config.json", `{"name": "shop", "services": {"registry": {"image": "registry:3.0.0"}}}`)
	h.write("/srv/containers.json", `[{"Id": "1", "Name": "/shop-registry-1", "State": {"Status": "running"}, "Config": {"Labels": {"com.docker.compose.project.working_dir": "/srv/my shop", "com.docker.compose.project.config_files": "/srv/my shop/compose.yaml"}}}]`)
	// There is a registry, and no edge.
	h.write("/usr/local/bin/docker", `#!/bin/sh
case "$*" in
*'config --format json'*) cat /srv/config.json ;;
'ps '*service=registry*) echo 1 ;;
'inspect '*) cat /srv/containers.json ;;
esac
`)
	h.mustRun("chmod", "0755", "/usr/local/bin/docker")
	out := h.mustRun("edge", "registry", "cleanup", "--project-directory", "/srv/my shop", "--keep", "7", "--in-use", "/srv/in-use", "--timer")
	if !strings.Contains(out, "edge-registry-shop.timer") || h.mustRun("systemctl", "is-enabled", "edge-registry-shop.timer") != "enabled" {
		t.Errorf("the command prints\n%s", out)
	}
	unit := h.mustRun("systemctl", "cat", "edge-registry-shop.service")
	for _, want := range []string{"--keep 7", "--in-use /srv/in-use", `--project-directory "/srv/my shop"`} {
		if !strings.Contains(unit, want) {
			t.Errorf("the unit has no %s:\n%s", want, unit)
		}
	}
	if out, err := h.run("systemctl", "start", "edge-registry-shop"); err == nil {
		t.Errorf("it succeeded without an edge: %s", out)
	}
	journal := h.mustRun("journalctl", "--no-pager", "--output", "cat", "--unit", "edge-registry-shop.service")
	if !strings.Contains(journal, "edge: error: the service edge of the project shop does not run") || !strings.Contains(h.mustRun("systemctl", "--failed", "--no-legend"), "edge-registry-shop") {
		t.Errorf("a cleanup that fails is not seen:\n%s", journal)
	}
	t.Log(journal)
}
