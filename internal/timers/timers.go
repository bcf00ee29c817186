// Package timers has systemd run commands of the edge again and again. Without systemd, it makes lines for cron.
package timers

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/theworklabs/edge/internal/compose"
)

// Job is a command that runs again and again.
type Job struct {
	Name     string // such as edge-backup-infrastructure
	Schedule string // systemd's OnCalendar
	Cron     string // the same for cron
	Args     []string
	About    string // for people
}

// Where returns the flags with which a command of the edge finds a project, from any directory.
func Where(project compose.Project, edgeName string) []string {
	where := []string{"--project-name", project.Name, "--project-directory", project.Directory}
	for _, f := range project.Files {
		where = append(where, "--file", f)
	}
	for _, f := range project.EnvFiles {
		where = append(where, "--env-file", f)
	}
	if edgeName != "" && edgeName != "edge" {
		where = append(where, "--edge", edgeName)
	}
	return where
}

// service returns the unit that runs the job.
func (j Job) service(program, directory string) string {
	return fmt.Sprintf(`[Unit]
Description=%s
Wants=network-online.target
After=network-online.target docker.service

[Service]
Type=oneshot
TimeoutStartSec=7d
ExecStart=%s
WorkingDirectory=%s
Environment=HOME=%%h
Nice=10
CPUWeight=10
IOWeight=10
IOSchedulingClass=idle
`, j.About, joinUnitWords(append([]string{program}, j.Args...)), directory)
}

// timer returns the unit that starts the service.
func (j Job) timer() string {
	return fmt.Sprintf(`[Unit]
Description=%s

[Timer]
OnCalendar=%s
AccuracySec=1s
Persistent=true

[Install]
WantedBy=timers.target
`, j.About, j.Schedule)
}

// CronLine returns the job for /etc/cron.d.
func (j Job) CronLine(program string) string {
	var words []string
	for _, w := range append([]string{program}, j.Args...) {
		if strings.ContainsFunc(w, func(r rune) bool {
			return !strings.ContainsRune("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_./=:@", r)
		}) {
			w = "'" + strings.ReplaceAll(w, "'", `'\''`) + "'"
		}
		words = append(words, strings.ReplaceAll(w, "%", `\%`))
	}
	return j.Cron + "  root  " + strings.Join(words, " ") + " >/dev/null"
}

// joinUnitWords quotes words for ExecStart.
func joinUnitWords(words []string) string {
	var quoted []string
	for _, w := range words {
		w = strings.NewReplacer("%", "%%", "$", "$$").Replace(w)
		if strings.ContainsAny(w, " \t\"'\\") {
			w = `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(w) + `"`
		}
		quoted = append(quoted, w)
	}
	return strings.Join(quoted, " ")
}

// Installed is what runs jobs, in the manner of this machine.
type Installed struct {
	Units []string // the files that were written, of timers that have been started; none without systemd
	Cron  []string // without systemd, the lines for cron
}

// Directory is where an administrator's units are.
const Directory = "/etc/systemd/system"

// Install writes the units of jobs of a project into a directory, and starts their timers. On a machine without systemd, it returns lines for cron.
func Install(ctx context.Context, project compose.Project, directory string, all ...Job) (*Installed, error) {
	program, err := os.Executable()
	if err != nil {
		return nil, err
	}
	t := new(Installed)
	if _, err := os.Stat("/run/systemd/system"); err != nil {
		for _, j := range all {
			t.Cron = append(t.Cron, j.CronLine(program))
		}
		return t, nil
	}
	var names []string
	for _, j := range all {
		for suffix, text := range map[string]string{".service": j.service(program, project.Directory), ".timer": j.timer()} {
			file := filepath.Join(directory, j.Name+suffix)
			if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
				return nil, err
			}
			t.Units = append(t.Units, file)
		}
		names = append(names, j.Name+".timer")
	}
	for _, args := range [][]string{{"daemon-reload"}, append([]string{"enable", "--now"}, names...)} {
		if out, err := exec.CommandContext(ctx, "systemctl", args...).CombinedOutput(); err != nil {
			return nil, fmt.Errorf("systemctl %s: %w", strings.Join(args, " "), errors.Join(err, errors.New(strings.TrimSpace(string(out)))))
		}
	}
	return t, nil
}
