// Package recovery keeps what an edge knows of the backups and drills of Compose projects: their commands run on the host, and report to it.
package recovery

import (
	"errors"
	"fmt"
	"maps"
	"slices"
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
}

// Backup is the backup of one application.
type Backup struct {
	App           string    `json:"app"`
	Set           string    `json:"set,omitempty"`
	RecoveryPoint time.Time `json:"recovery_point,omitzero"` // its beginning: later changes are not in the set
	Seconds       float64   `json:"seconds"`
	Size          int64     `json:"size"`  // bytes
	Added         int64     `json:"added"` // bytes that the repository did not have
	Error         string    `json:"error,omitempty"`
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
}

// App is what is known of an application's backups.
type App struct {
	LastSuccess time.Time `json:"last_success,omitzero"`
	LastAttempt time.Time `json:"last_attempt"`
	LastError   string    `json:"last_error,omitempty"` // of the last attempt; "" if it succeeded
	Backup                // the last one that succeeded
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
	App     string // "" for the drill
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
			case a.LastSuccess.IsZero():
				all = append(all, Problem{name, app, "there is no backup: " + a.LastError})
			case p.IsOverdue(app, now):
				all = append(all, Problem{name, app, fmt.Sprintf("the backup is overdue: the last one is of %s%s", a.RecoveryPoint.Format(time.RFC3339), reason(a.LastError))})
			case a.LastError != "":
				all = append(all, Problem{name, app, "the last backup failed" + reason(a.LastError)})
			}
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

func reason(err string) string {
	if err == "" {
		return ""
	}
	return ": " + err
}
