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
	"time"

	"github.com/theworklabs/edge/internal/compose"
)

// Job is a command that runs again and again.
type Job struct {
	Name     string // such as edge-backup-infrastructure
	Schedule string // systemd's OnCalendar
	Cron     string // the same for cron
	Args     []string
	About    string // for people

	CatchUp     bool          // run it at once if the machine was off at its time
	StopTimeout time.Duration // for a command that ends by itself after SIGTERM, which its own children do not get; 0: for any other
}

// ProjectFlags returns the flags with which a command of the edge finds a project whose paths are absolute, from any directory.
func ProjectFlags(project compose.Project, edgeName string) []string {
	flags := []string{"--project-name", project.Name, "--project-directory", project.Directory}
	for _, f := range project.Files {
		flags = append(flags, "--file", f)
	}
	for _, f := range project.EnvFiles {
		flags = append(flags, "--env-file", f)
	}
	if edgeName != "" && edgeName != "edge" {
		flags = append(flags, "--edge", edgeName)
	}
	return flags
}

// service returns the unit that runs the job.
func (j Job) service(program, directory string) string {
	stop := ""
	if j.StopTimeout > 0 {
		stop = fmt.Sprintf("KillMode=mixed\nTimeoutStopSec=%d\n", int(j.StopTimeout.Seconds()))
	}
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
%s`, escapeSpecifiers(j.About), joinUnitWords(append([]string{program}, j.Args...)), escapeSpecifiers(directory), stop)
}

// timer returns the unit that starts the service.
func (j Job) timer() string {
	return fmt.Sprintf(`[Unit]
Description=%s

[Timer]
OnCalendar=%s
AccuracySec=1s
Persistent=%t

[Install]
WantedBy=timers.target
`, escapeSpecifiers(j.About), j.Schedule, j.CatchUp)
}

// CronLine returns the job for /etc/cron.d.
func (j Job) CronLine(program string) string {
	var words []string
	for _, w := range append([]string{program}, j.Args...) {
		if w == "" || strings.ContainsFunc(w, func(r rune) bool {
			return !strings.ContainsRune("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_./=:@", r)
		}) {
			w = "'" + strings.ReplaceAll(w, "'", `'\''`) + "'"
		}
		words = append(words, strings.ReplaceAll(w, "%", `\%`))
	}
	return j.Cron + "  root  " + strings.Join(words, " ") + " >/dev/null"
}

// escapeSpecifiers has systemd take a text as it is.
func escapeSpecifiers(text string) string { return strings.ReplaceAll(text, "%", "%%") }

// joinUnitWords quotes words for ExecStart.
func joinUnitWords(words []string) string {
	var quoted []string
	for _, w := range words {
		w = strings.ReplaceAll(escapeSpecifiers(w), "$", "$$")
		if w == "" || strings.ContainsAny(w, " \t\"'\\") {
			w = `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(w) + `"`
		}
		quoted = append(quoted, w)
	}
	return strings.Join(quoted, " ")
}

// Timers are what runs jobs, in the manner of this machine.
type Timers struct {
	Units []string // the files that were written, of timers that have been started; none without systemd
	Cron  []string // without systemd, the lines for cron
	// CronFile is the name of their file in /etc/cron.d: that of the first job, which has the project's in it, without what cron does not read.
	CronFile string
}

// Directory is where an administrator's units are.
const Directory = "/etc/systemd/system"

// Install writes the units of jobs of a project into a directory, and starts their timers. On a machine without systemd, it returns lines for cron.
func Install(ctx context.Context, project compose.Project, directory string, all ...Job) (*Timers, error) {
	program, err := os.Executable()
	if err != nil {
		return nil, err
	}
	t := new(Timers)
	if _, err := os.Stat("/run/systemd/system"); err != nil {
		for _, j := range all {
			t.Cron = append(t.Cron, j.CronLine(program))
		}
		t.CronFile = strings.ReplaceAll(all[0].Name, ".", "-SERVICE-") // cron skips files with dots; no project's name has capitals
		return t, nil
	}
	var names []string
	for _, j := range all {
		for _, unit := range []struct{ suffix, text string }{{".service", j.service(program, project.Directory)}, {".timer", j.timer()}} {
			file := filepath.Join(directory, j.Name+unit.suffix)
			if err := os.WriteFile(file, []byte(unit.text), 0o644); err != nil {
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
