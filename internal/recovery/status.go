// Package recovery keeps what an edge knows of the backups and drills of Compose projects: their commands run on the host, and report to it.
package recovery

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
)

// Report is what a command on the host has done. It is the body of POST /edge/backups.
type Report struct {
	Project string    `json:"project"`
	Time    time.Time `json:"time"` // the end of the command
	// MaxAgeSeconds and DrillIntervalSeconds are those of x-edge-backup: the largest age of a set, and the time between two drills.
	MaxAgeSeconds        float64       `json:"max_age_seconds"`
	DrillIntervalSeconds float64       `json:"drill_interval_seconds"`
	Backups              []Backup      `json:"backups,omitempty"`
	Drill                *DrillOutcome `json:"drill,omitempty"`
	Copy                 *CopyOutcome  `json:"copy,omitempty"` // nil if there is no second repository
	// MaxLogAgeSeconds is max_log_age of x-edge-backup: how old the stored logs may be. Logs are what the command has stored of them.
	// Apps are the applications that the project has: others are forgotten. None says nothing.
	Apps             []string  `json:"apps,omitempty"`
	MaxLogAgeSeconds float64   `json:"max_log_age_seconds,omitempty"`
	Logs             []LogInfo `json:"logs,omitempty"`
	// LogsCopy is the result of a copy of the logs to the second repository; nil if none was tried.
	LogsCopy *CopyOutcome `json:"logs_copy,omitempty"`
}

// LogInfo says until when the databases of an application can be restored by the stored logs.
type LogInfo struct {
	App   string    `json:"app"`
	Until time.Time `json:"until"`
	Error string    `json:"error,omitempty"` // why they could not be stored, or do not continue the last set
}

// CopyOutcome is the result of the copy to the second repository.
type CopyOutcome struct {
	Error string `json:"error,omitempty"`
}

// Backup is the backup of one application.
type Backup struct {
	App           string    `json:"app"`
	Set           string    `json:"set,omitempty"`
	RecoveryPoint time.Time `json:"recovery_point,omitzero"` // its beginning: later changes are not in the set
	Seconds       float64   `json:"seconds"`
	Size          int64     `json:"size"`  // bytes
	Added         int64     `json:"added"` // bytes that the repository did not have
	// Shrunk is what the set has much less of than an earlier one.
	Shrunk []string `json:"shrunk,omitempty"`
	Error  string   `json:"error,omitempty"`
}

// DrillOutcome is the result of a drill.
type DrillOutcome struct {
	Sets            map[string]string  `json:"sets"` // application → ID of its set
	RecoverySeconds float64            `json:"recovery_seconds"`
	StepSeconds     map[string]float64 `json:"step_seconds"`
	Error           string             `json:"error,omitempty"`
}

// Check returns what is wrong with a report.
func (r *Report) Check() error {
	switch {
	case r.Project == "":
		return errors.New("the report names no project")
	case r.Time.IsZero() || r.MaxAgeSeconds <= 0 || r.DrillIntervalSeconds <= 0:
		return errors.New("the report has no time, max_age_seconds or drill_interval_seconds")
	}
	for _, b := range r.Backups {
		if b.App == "" || b.Error == "" && (b.Set == "" || b.RecoveryPoint.IsZero()) {
			return fmt.Errorf("the backup %+v has no app, set or recovery_point", b)
		}
	}
	return nil
}

// Status is what is known of all projects, by their names. It is immutable.
type Status struct {
	Projects map[string]Project `json:"projects"`
}

// Project is what is known of a project.
type Project struct {
	MaxAgeSeconds        float64        `json:"max_age_seconds"`
	DrillIntervalSeconds float64        `json:"drill_interval_seconds"`
	Since                time.Time      `json:"since"` // of the first report
	Apps                 map[string]App `json:"apps"`
	Drill                *Drill         `json:"drill,omitempty"` // nil before the first one
	Copy                 *Copy          `json:"copy,omitempty"`  // nil before the first one
	MaxLogAgeSeconds     float64        `json:"max_log_age_seconds,omitempty"`
	LogsCopy             *Copy          `json:"logs_copy,omitempty"` // nil before the first one
}

// Copy is what is known of a project's copies to its second repository.
type Copy struct {
	LastSuccess time.Time `json:"last_success,omitzero"`
	LastError   string    `json:"last_error,omitempty"` // of the last attempt; "" if it succeeded
}

// after returns what is known after a copy whose outcome is given; nil if there was none.
func (c *Copy) after(outcome *CopyOutcome, end time.Time) *Copy {
	if outcome == nil {
		return c
	}
	next := Copy{LastError: outcome.Error}
	if outcome.Error == "" {
		next.LastSuccess = end
	} else if c != nil {
		next.LastSuccess = c.LastSuccess
	}
	return &next
}

// App is what is known of an application's backups.
type App struct {
	LastSuccess time.Time `json:"last_success,omitzero"`
	LastAttempt time.Time `json:"last_attempt,omitzero"`
	LastError   string    `json:"last_error,omitempty"` // of the last attempt; "" if it succeeded
	Logs        *Logs     `json:"logs,omitempty"`       // nil if no logs were ever stored
	Backup                // the last one that succeeded
}

// Logs is what is known of an application's stored logs.
type Logs struct {
	Until     time.Time `json:"until,omitzero"`
	Since     time.Time `json:"since"` // of the first report
	LastError string    `json:"last_error,omitempty"`
}

// RecoveryTime returns until when the application's data can be restored: the time of the last set, or of the logs that continue it.
func (a App) RecoveryTime() time.Time {
	if a.Logs != nil && a.Logs.Until.After(a.RecoveryPoint) {
		return a.Logs.Until
	}
	return a.RecoveryPoint
}

// Drill is what is known of a project's drills.
type Drill struct {
	LastSuccess  time.Time `json:"last_success,omitzero"`
	LastAttempt  time.Time `json:"last_attempt"`
	LastError    string    `json:"last_error,omitempty"`
	DrillOutcome           // the last one that succeeded
}

// With returns the status after a report.
func (s *Status) With(r *Report) *Status {
	next := &Status{Projects: make(map[string]Project)}
	if s != nil {
		maps.Copy(next.Projects, s.Projects)
	}
	p := next.Projects[r.Project]
	p.MaxAgeSeconds, p.DrillIntervalSeconds = r.MaxAgeSeconds, r.DrillIntervalSeconds
	if p.Since.IsZero() {
		p.Since = r.Time
	}
	apps := make(map[string]App)
	maps.Copy(apps, p.Apps)
	for _, b := range r.Backups {
		app := apps[b.App]
		app.LastAttempt, app.LastError = r.Time, b.Error
		if b.Error == "" {
			app.LastSuccess, app.Backup = r.Time, b
		}
		app.App = b.App
		apps[b.App] = app
	}
	for _, l := range r.Logs {
		app := apps[l.App]
		logs := Logs{Since: r.Time}
		if app.Logs != nil {
			logs = *app.Logs
		}
		if logs.LastError = l.Error; l.Error == "" {
			logs.Until = l.Until
		}
		app.App, app.Logs = l.App, &logs
		apps[l.App] = app
	}
	if len(r.Apps) > 0 {
		maps.DeleteFunc(apps, func(name string, _ App) bool { return !slices.Contains(r.Apps, name) })
	}
	p.MaxLogAgeSeconds = cmp.Or(r.MaxLogAgeSeconds, p.MaxLogAgeSeconds)
	p.Apps = apps
	if r.Drill != nil {
		drill := Drill{}
		if p.Drill != nil {
			drill = *p.Drill
		}
		drill.LastAttempt, drill.LastError = r.Time, r.Drill.Error
		if r.Drill.Error == "" {
			drill.LastSuccess, drill.DrillOutcome = r.Time, *r.Drill
		}
		p.Drill = &drill
	}
	p.Copy, p.LogsCopy = p.Copy.after(r.Copy, r.Time), p.LogsCopy.after(r.LogsCopy, r.Time)
	next.Projects[r.Project] = p
	return next
}

// IsOverdue reports whether the latest set of an application is older than it may be.
func (p Project) IsOverdue(app string, now time.Time) bool {
	point := p.Apps[app].RecoveryPoint
	if point.IsZero() {
		point = p.Since
	}
	return now.Sub(point).Seconds() > p.MaxAgeSeconds
}

// AreLogsOverdue reports whether the stored logs of an application are older than they may be. They are not if none were ever stored.
func (p Project) AreLogsOverdue(app string, now time.Time) bool {
	logs := p.Apps[app].Logs
	if logs == nil || p.MaxLogAgeSeconds <= 0 {
		return false
	}
	last := logs.Since
	if logs.Until.After(last) {
		last = logs.Until
	}
	return now.Sub(last).Seconds() > p.MaxLogAgeSeconds
}

// IsDrillOverdue reports whether the last drill that passed is longer ago than it may be.
func (p Project) IsDrillOverdue(now time.Time) bool {
	last := p.Since
	if p.Drill != nil && !p.Drill.LastSuccess.IsZero() {
		last = p.Drill.LastSuccess
	}
	return now.Sub(last).Seconds() > p.DrillIntervalSeconds
}

// Problem is something about the backups of a project that needs attention.
type Problem struct {
	Project string
	App     string // "" for the drill and the copy
	Message string
}

// Problems returns what needs attention, sorted by project and application.
func (s *Status) Problems(now time.Time) (all []Problem) {
	if s == nil {
		return nil
	}
	for _, name := range slices.Sorted(maps.Keys(s.Projects)) {
		p := s.Projects[name]
		for _, app := range slices.Sorted(maps.Keys(p.Apps)) {
			a := p.Apps[app]
			switch {
			case a.LastSuccess.IsZero() && a.LastAttempt.IsZero(): // only logs are known: a set is, too, unless it is of the time before this edge
				if p.IsOverdue(app, now) {
					all = append(all, Problem{name, app, "no backup is known"})
				}
			case a.LastSuccess.IsZero():
				all = append(all, Problem{name, app, "there is no backup: " + a.LastError})
			case p.IsOverdue(app, now):
				all = append(all, Problem{name, app, fmt.Sprintf("the backup is overdue: the last one is of %s%s", a.RecoveryPoint.Format(time.RFC3339), reason(a.LastError))})
			case a.LastError != "":
				all = append(all, Problem{name, app, "the last backup failed" + reason(a.LastError)})
			}
			if len(a.Shrunk) > 0 {
				all = append(all, Problem{name, app, "the last set has much less data than an earlier one: " + strings.Join(a.Shrunk, "; ")})
			}
			if p.AreLogsOverdue(app, now) {
				all = append(all, Problem{name, app, fmt.Sprintf("the logs are overdue: changes after %s would be lost%s", a.RecoveryTime().Format(time.RFC3339), reason(a.Logs.LastError))})
			}
		}
		if p.Copy != nil && p.Copy.LastError != "" {
			all = append(all, Problem{name, "", "the last copy to the second repository failed" + reason(p.Copy.LastError)})
		}
		if p.LogsCopy != nil && p.LogsCopy.LastError != "" {
			all = append(all, Problem{name, "", "the logs could not be copied to the second repository" + reason(p.LogsCopy.LastError)})
		}
		switch {
		case p.Drill != nil && p.Drill.LastError != "":
			all = append(all, Problem{name, "", "the last drill failed" + reason(p.Drill.LastError)})
		case p.IsDrillOverdue(now) && (p.Drill == nil || p.Drill.LastSuccess.IsZero()):
			all = append(all, Problem{name, "", "no drill has been run: nobody knows whether the backups can be restored"})
		case p.IsDrillOverdue(now):
			all = append(all, Problem{name, "", "the drill is overdue: the last one that passed was on " + p.Drill.LastSuccess.Format(time.RFC3339)})
		}
	}
	return all
}

// Summary returns a line for each project: the time to which all of its applications can be restored, and its last drill.
func (s *Status) Summary(now time.Time) (lines []string) {
	if s == nil {
		return nil
	}
	for _, name := range slices.Sorted(maps.Keys(s.Projects)) {
		p := s.Projects[name]
		var oldest time.Time
		for _, a := range p.Apps {
			if t := a.RecoveryTime(); !t.IsZero() && (oldest.IsZero() || t.Before(oldest)) {
				oldest = t
			}
		}
		if oldest.IsZero() {
			continue
		}
		line := fmt.Sprintf("%s can be restored to %s, %v ago", name, oldest.Format(time.RFC3339), now.Sub(oldest).Round(time.Second))
		if p.Drill != nil && !p.Drill.LastSuccess.IsZero() {
			line += fmt.Sprintf("; the drill of %s passed, in %.0f s", p.Drill.LastSuccess.Format(time.DateOnly), p.Drill.RecoverySeconds)
		}
		lines = append(lines, line)
	}
	return lines
}

func reason(err string) string {
	if err == "" {
		return ""
	}
	return ": " + err
}
