package edge

import (
	"fmt"
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"

	"github.com/theworklabs/edge/internal/recovery"
)

// getBackups answers with the [recovery.Status].
func getBackups(r *http.Request) (any, error) {
	shared, a := activeEdge()
	if a == nil {
		return nil, errNoEdge
	}
	status, err := shared.recovery.Status(r.Context(), a.storage)
	if err != nil {
		return nil, apiError(http.StatusInternalServerError, err)
	}
	return status, nil
}

// postBackups adds a [recovery.Report], which `edge backup` and `edge drill` send, and answers with the [recovery.Status] after it.
func postBackups(r *http.Request) (any, error) {
	shared, a := activeEdge()
	if a == nil {
		return nil, errNoEdge
	}
	var report recovery.Report
	if err := decodeMessage(r, &report); err != nil {
		return nil, err
	}
	if err := report.Check(); err != nil {
		return nil, apiError(http.StatusBadRequest, err)
	}
	status, err := shared.recovery.Add(r.Context(), a.storage, &report)
	if err != nil {
		return nil, apiError(http.StatusInternalServerError, fmt.Errorf("nothing is changed: %w", err))
	}
	shared.backups.Look(r.Context())
	return status, nil
}

// reportBackupProblem logs that something about the backups begins to need attention.
func (r *runtime) reportBackupProblem(p recovery.Problem) {
	r.noted(r.logs.edgeLogger()).Error("the backups need attention", zap.String("project", p.Project), zap.String("application", p.App), zap.String("problem", p.Message))
}

var (
	appLabels     = []string{"project", "application"}
	projectLabels = []string{"project"}

	descBackupSuccess    = prometheus.NewDesc("edge_backup_success", "1 if the last backup of an application succeeded, else 0.", appLabels, nil)
	descBackupShrunk     = prometheus.NewDesc("edge_backup_shrunk", "1 if the last set of an application has much less data than an earlier one, else 0.", appLabels, nil)
	descBackupTime       = prometheus.NewDesc("edge_backup_last_success_timestamp_seconds", "The end of the last backup that succeeded.", appLabels, nil)
	descBackupDuration   = prometheus.NewDesc("edge_backup_duration_seconds", "The duration of the last backup that succeeded.", appLabels, nil)
	descBackupSize       = prometheus.NewDesc("edge_backup_size_bytes", "The size of the last set.", appLabels, nil)
	descBackupAdded      = prometheus.NewDesc("edge_backup_added_bytes", "What the last set added to the repository.", appLabels, nil)
	descBackupOverdue    = prometheus.NewDesc("edge_backup_overdue", "1 if the last set of an application is older than max_age of x-edge-backup, else 0.", appLabels, nil)
	descRecoveryPoint    = prometheus.NewDesc("edge_recovery_point_timestamp_seconds", "Until when the data of an application can be restored: the time of the last set, or of the logs that continue it.", appLabels, nil)
	descLogsSuccess      = prometheus.NewDesc("edge_backup_logs_success", "1 if the logs of an application's databases were stored the last time, and continue its last set, else 0.", appLabels, nil)
	descLogsOverdue      = prometheus.NewDesc("edge_backup_logs_overdue", "1 if the stored logs of an application are older than max_log_age of x-edge-backup, else 0.", appLabels, nil)
	descCopySuccess      = prometheus.NewDesc("edge_backup_copy_success", "1 if the last copy to the second repository succeeded, else 0.", projectLabels, nil)
	descCopyTime         = prometheus.NewDesc("edge_backup_copy_last_success_timestamp_seconds", "The end of the last copy to the second repository that succeeded.", projectLabels, nil)
	descLogsCopySuccess  = prometheus.NewDesc("edge_backup_logs_copy_success", "1 if the last copy of the logs to the second repository succeeded, else 0.", projectLabels, nil)
	descLogsCopyTime     = prometheus.NewDesc("edge_backup_logs_copy_last_success_timestamp_seconds", "The end of the last copy of the logs to the second repository that succeeded.", projectLabels, nil)
	descDrillSuccess     = prometheus.NewDesc("edge_drill_success", "1 if the last drill of a project passed, else 0.", projectLabels, nil)
	descDrillTime        = prometheus.NewDesc("edge_drill_last_success_timestamp_seconds", "The end of the last drill that passed.", projectLabels, nil)
	descDrillRecovery    = prometheus.NewDesc("edge_drill_recovery_seconds", "How long the restore and all checks took in the last drill that passed.", projectLabels, nil)
	descDrillStepSeconds = prometheus.NewDesc("edge_drill_step_seconds", "How long a step took in the last drill that passed.", []string{"project", "step"}, nil)
	descDrillOverdue     = prometheus.NewDesc("edge_drill_overdue", "1 if the last drill that passed is longer ago than drill_interval of x-edge-backup, else 0.", projectLabels, nil)
)

// recoveryMetrics collects what is known of backups and drills.
type recoveryMetrics struct{ runtime *runtime }

// Describe implements prometheus.Collector.
func (recoveryMetrics) Describe(to chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{
		descBackupSuccess, descBackupShrunk, descBackupTime, descBackupDuration, descBackupSize, descBackupAdded, descBackupOverdue, descRecoveryPoint,
		descLogsSuccess, descLogsOverdue, descCopySuccess, descCopyTime, descLogsCopySuccess, descLogsCopyTime,
		descDrillSuccess, descDrillTime, descDrillRecovery, descDrillStepSeconds, descDrillOverdue,
	} {
		to <- d
	}
}

// Collect implements prometheus.Collector. A storage that cannot be read shows in other metrics; here the last status stays.
func (m recoveryMetrics) Collect(to chan<- prometheus.Metric) {
	storage := m.runtime.activeStorage()
	if storage == nil {
		return
	}
	status := m.runtime.recovery.Recent(storage)
	if status == nil {
		return
	}
	gauge := func(d *prometheus.Desc, value float64, labels ...string) {
		to <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, value, labels...)
	}
	now := time.Now()
	for name, p := range status.Projects {
		for app, a := range p.Apps {
			if a.Logs != nil {
				gauge(descLogsSuccess, toFloat(a.Logs.LastError == ""), name, app)
				gauge(descLogsOverdue, toFloat(p.AreLogsOverdue(app, now)), name, app)
			}
			if point := a.RecoveryTime(); !point.IsZero() {
				gauge(descRecoveryPoint, unixSeconds(point), name, app)
			}
			if !a.LastAttempt.IsZero() {
				gauge(descBackupSuccess, toFloat(a.LastError == ""), name, app)
			}
			gauge(descBackupOverdue, toFloat(p.IsOverdue(app, now)), name, app)
			if a.LastSuccess.IsZero() {
				continue
			}
			gauge(descBackupShrunk, toFloat(len(a.Shrunk) > 0), name, app)
			gauge(descBackupTime, unixSeconds(a.LastSuccess), name, app)
			gauge(descBackupDuration, a.Seconds, name, app)
			gauge(descBackupSize, float64(a.Size), name, app)
			gauge(descBackupAdded, float64(a.Added), name, app)
		}
		for _, c := range []struct {
			last          *recovery.Copy
			success, time *prometheus.Desc
		}{{p.Copy, descCopySuccess, descCopyTime}, {p.LogsCopy, descLogsCopySuccess, descLogsCopyTime}} {
			if c.last == nil {
				continue
			}
			gauge(c.success, toFloat(c.last.LastError == ""), name)
			if !c.last.LastSuccess.IsZero() {
				gauge(c.time, unixSeconds(c.last.LastSuccess), name)
			}
		}
		gauge(descDrillOverdue, toFloat(p.IsDrillOverdue(now)), name)
		if p.Drill == nil {
			continue
		}
		gauge(descDrillSuccess, toFloat(p.Drill.LastError == ""), name)
		if p.Drill.LastSuccess.IsZero() {
			continue
		}
		gauge(descDrillTime, unixSeconds(p.Drill.LastSuccess), name)
		gauge(descDrillRecovery, p.Drill.RecoverySeconds, name)
		for step, seconds := range p.Drill.StepSeconds {
			gauge(descDrillStepSeconds, seconds, name, step)
		}
	}
}

func toFloat(is bool) float64 {
	if is {
		return 1
	}
	return 0
}

func unixSeconds(t time.Time) float64 { return float64(t.UnixMilli()) / 1000 }

var _ prometheus.Collector = recoveryMetrics{}
