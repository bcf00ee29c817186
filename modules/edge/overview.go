package edge

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyevents"
	"go.uber.org/zap/zapcore"

	"github.com/theworklabs/edge/internal/recovery"
	"github.com/theworklabs/edge/internal/registry"
	"github.com/theworklabs/edge/internal/timeline"
	"github.com/theworklabs/edge/internal/traffic"
	"github.com/theworklabs/edge/modules/certificates"
)

// Overview is what the status page shows, except the services and the events.
type Overview struct {
	Time         time.Time             `json:"time"`
	Started      time.Time             `json:"started"`
	Generation   int64                 `json:"generation"` // of the configuration: see the metric edge_config_generation
	Sources      map[string]bool       `json:"sources"`    // of endpoints, and whether they are connected
	Certificates []certificates.Status `json:"certificates"`
	Backups      []BackupOverview      `json:"backups"`
	Problems     []recovery.Problem    `json:"backup_problems"`
	Replication  map[string]string     `json:"replication_problems,omitempty"` // by database; "" is about what watches the replica
	Exhausted    []Exhaustion          `json:"exhausted,omitempty"`            // what the edge has run out of in the last minute
}

// BackupOverview is what is known of the backups of one application.
type BackupOverview struct {
	Project       string    `json:"project"`
	Application   string    `json:"application"`
	LastSuccess   time.Time `json:"last_success,omitzero"`
	RecoveryPoint time.Time `json:"recovery_point,omitzero"` // until when its data can be restored
	LastDrill     time.Time `json:"last_drill,omitzero"`     // that passed
	DrillSeconds  float64   `json:"drill_seconds,omitempty"`
}

// ServiceOverview is one service on the status page.
type ServiceOverview struct {
	registry.ServiceStatus
	Why string `json:"why,omitempty"` // why it has no ready endpoint
	traffic.Summary
}

// startedAt is when the process was started.
var startedAt = time.Now()

// Overview returns what the status page shows. It does not wait for a storage that does not answer.
func (a *App) Overview() Overview {
	r := a.runtime
	o := Overview{
		Time: time.Now().UTC(), Started: startedAt.UTC(), Generation: r.generation.Load(), Sources: r.registry.Connected(),
		Certificates: Certificates(), Backups: []BackupOverview{}, Problems: []recovery.Problem{},
	}
	o.Replication = replicationProblems(o.Time)
	o.Exhausted = r.exhaustion.recent(o.Time)
	status := r.recovery.Recent(a.storage)
	if status == nil {
		return o
	}
	o.Problems = append(o.Problems, status.Problems(o.Time)...)
	for _, project := range slices.Sorted(maps.Keys(status.Projects)) {
		p := status.Projects[project]
		for _, app := range slices.Sorted(maps.Keys(p.Apps)) {
			b := BackupOverview{Project: project, Application: app, LastSuccess: p.Apps[app].LastSuccess, RecoveryPoint: p.Apps[app].RecoveryTime()}
			if p.Drill != nil {
				b.LastDrill, b.DrillSeconds = p.Drill.LastSuccess, p.Drill.RecoverySeconds
			}
			o.Backups = append(o.Backups, b)
		}
	}
	return o
}

// ServiceOverviews returns all services, sorted by name, with what happened in the last minute.
func (a *App) ServiceOverviews() []ServiceOverview { return a.overviewsOf(a.runtime.snapshot()) }

// OverviewsOf returns some services, with what happened in the last minute.
func (a *App) OverviewsOf(services []string) []ServiceOverview {
	return a.overviewsOf(a.runtime.complete(a.runtime.registry.Statuses(services)))
}

func (a *App) overviewsOf(statuses []registry.ServiceStatus) []ServiceOverview {
	all := make([]ServiceOverview, len(statuses))
	for i, s := range statuses {
		all[i] = ServiceOverview{ServiceStatus: s, Why: ServiceProblem(s), Summary: a.runtime.traffic.Service(s.Service).Summary(time.Minute)}
	}
	return all
}

// TrafficHistory returns the last minutes of a service.
func (a *App) TrafficHistory(service string) []traffic.Point {
	return a.runtime.traffic.Service(service).History()
}

// IsActive reports whether this configuration is the one in force.
func (a *App) IsActive() bool { return a.runtime.activeApp() == a }

// Timeline returns the last events of the edge. It outlives configurations.
func (a *App) Timeline() *timeline.Timeline { return &a.runtime.timeline }

// noteChange adds the change of an endpoint's state to the timeline.
func (r *runtime) noteChange(c registry.Change) {
	e := timeline.Event{
		Time: c.Time, Kind: timeline.Endpoint, Level: timeline.Info, Service: c.Service, Endpoint: cmp.Or(c.Name, c.Endpoint),
		Text: fmt.Sprintf("is %s: %s", c.To, c.Reason),
	}
	isNew := r.newEndpoints.note(c) // of each change
	switch {
	case c.To == registry.Failing:
		e.Level = timeline.Warning
	case isNew:
		e.Kind, e.IsNew = timeline.Deploy, true
	}
	r.timeline.Add(e)
}

// note adds an event that is of no service to the timeline.
func (r *runtime) note(kind timeline.Kind, level timeline.Level, text string) {
	r.timeline.Add(timeline.Event{Kind: kind, Level: level, Text: text})
}

// noteActivation counts a configuration that is in force from now on, and adds it to the timeline.
func (r *runtime) noteActivation() {
	text := "a new configuration is in force"
	if r.generation.Add(1) == 1 {
		text = "the edge has started"
	}
	r.note(timeline.Reload, timeline.Info, text)
}

// notedMessages are log messages that are events of the timeline, by their beginnings.
var notedMessages = []struct {
	start string
	kind  timeline.Kind
}{
	{"maintenance is ", timeline.Maintenance},
	{"connected to the Docker Engine", timeline.Source},
	{"cannot reach the Docker Engine", timeline.Source},
	{"the resolver ", timeline.Source},
	{"the backups need attention", timeline.Backup},
	{"an unhealthy container was ", timeline.Endpoint},
}

// noteCore is the core of a logger some of whose entries are events of the timeline, too.
type noteCore struct {
	zapcore.Core
	timeline *timeline.Timeline
}

// With implements [zapcore.Core].
func (c noteCore) With(fields []zapcore.Field) zapcore.Core {
	return noteCore{c.Core.With(fields), c.timeline}
}

// Check implements [zapcore.Core]. An entry that the log does not want can be an event nevertheless.
func (c noteCore) Check(e zapcore.Entry, to *zapcore.CheckedEntry) *zapcore.CheckedEntry {
	if e.Level >= zapcore.InfoLevel {
		return to.AddCore(e, c)
	}
	return c.Core.Check(e, to)
}

// Enabled implements [zapcore.Core].
func (c noteCore) Enabled(level zapcore.Level) bool {
	return level >= zapcore.InfoLevel || c.Core.Enabled(level)
}

// Write implements [zapcore.Core].
func (c noteCore) Write(e zapcore.Entry, fields []zapcore.Field) error {
	for _, noted := range notedMessages {
		if !strings.HasPrefix(e.Message, noted.start) {
			continue
		}
		event := timeline.Event{Time: e.Time, Kind: noted.kind, Level: levelOf(e.Level), Text: e.Message}
		for _, f := range fields {
			switch {
			case f.Key == "service":
				event.Service = f.String
			case f.Key == "problem":
				event.Text = f.String
			case f.Key == "application" && f.String != "" || f.Key == "project" || f.Key == "endpoint":
				event.Endpoint = f.String
			}
		}
		c.timeline.Add(event)
	}
	if !c.Core.Enabled(e.Level) {
		return nil
	}
	return c.Core.Write(e, fields)
}

// levelOf returns the level of an event of a log's level.
func levelOf(l zapcore.Level) timeline.Level {
	switch {
	case l >= zapcore.ErrorLevel:
		return timeline.Error
	case l == zapcore.WarnLevel:
		return timeline.Warning
	}
	return timeline.Info
}

// certificateHandler adds what becomes of certificates to the timeline. It implements caddyevents.Handler.
type certificateHandler struct{ runtime *runtime }

// Handle implements caddyevents.Handler.
func (h certificateHandler) Handle(_ context.Context, e caddy.Event) error {
	name, _ := e.Data["identifier"].(string)
	switch e.Name() {
	case "cert_obtained":
		h.runtime.note(timeline.Certificate, timeline.Info, "there is a new certificate of "+name)
	case "cert_failed":
		h.runtime.note(timeline.Certificate, timeline.Error, "no certificate could be had for "+name)
	}
	return nil
}

var (
	_ zapcore.Core        = noteCore{}
	_ caddyevents.Handler = certificateHandler{}
)
