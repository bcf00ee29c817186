package edge

import (
	"net/http"
	"os"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/theworklabs/edge/internal/replication"
)

// replicationVariable names the file in which `edge replica watch` keeps what it knows; the edge only reads it.
const replicationVariable = "EDGE_REPLICATION"

// readReplication returns what is known of the databases' replica; nil if there is none.
func readReplication() (*replication.State, error) {
	file := os.Getenv(replicationVariable)
	if file == "" {
		return nil, nil
	}
	return replication.ReadState(file)
}

// getReplication answers with the [replication.State], or null.
func getReplication(*http.Request) (any, error) {
	state, err := readReplication()
	if err != nil {
		return nil, apiError(http.StatusInternalServerError, err)
	}
	return state, nil
}

var (
	databaseLabels = []string{"database"}

	descReplicationTime        = prometheus.NewDesc("edge_replication_observed_timestamp_seconds", "When the service replication last looked at the databases and their replica.", nil, nil)
	descReplicationSynchronous = prometheus.NewDesc("edge_replication_synchronous", "1 if every acknowledged commit is on the replica, 0 if the primary is alone.", databaseLabels, nil)
	descReplicationAlone       = prometheus.NewDesc("edge_replication_alone_total", "How often the primary has gone on alone: what was acknowledged meanwhile was not on the replica at first.", databaseLabels, nil)
	descReplicationPrimary     = prometheus.NewDesc("edge_replication_primary_up", "1 if the primary responds, else 0.", databaseLabels, nil)
	descReplicationConnected   = prometheus.NewDesc("edge_replication_connected", "1 if the replica receives from the primary, and confirms, else 0.", databaseLabels, nil)
	descReplicationWaiting     = prometheus.NewDesc("edge_replication_waiting_commits", "Commits that wait for the replica.", databaseLabels, nil)
	descReplicationWait        = prometheus.NewDesc("edge_replication_commit_wait_seconds", "The longest that commits have waited until the replica confirmed them, as seen in the last minute.", databaseLabels, nil)
	descReplicationLag         = prometheus.NewDesc("edge_replication_lag_seconds", "How old what the replica has applied is.", databaseLabels, nil)
)

// replicationMetrics collects what is known of the databases' replica.
type replicationMetrics struct{}

// Describe implements prometheus.Collector.
func (replicationMetrics) Describe(to chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{descReplicationTime, descReplicationSynchronous, descReplicationAlone, descReplicationPrimary, descReplicationConnected, descReplicationWaiting, descReplicationWait, descReplicationLag} {
		to <- d
	}
}

// Collect implements prometheus.Collector. Without a file there is nothing to collect; one that is old, or damaged, shows by its age.
func (replicationMetrics) Collect(to chan<- prometheus.Metric) {
	if os.Getenv(replicationVariable) == "" {
		return
	}
	state, _ := readReplication()
	if state == nil {
		state = new(replication.State)
	}
	gauge := func(d *prometheus.Desc, value float64, labels ...string) {
		to <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, value, labels...)
	}
	observed := 0.0
	if !state.Time.IsZero() {
		observed = unixSeconds(state.Time)
	}
	gauge(descReplicationTime, observed)
	for name, d := range state.Databases {
		gauge(descReplicationSynchronous, toFloat(d.Mode == replication.Synchronous), name)
		to <- prometheus.MustNewConstMetric(descReplicationAlone, prometheus.CounterValue, float64(d.TimesAlone), name)
		gauge(descReplicationPrimary, toFloat(d.IsPrimaryUp), name)
		gauge(descReplicationConnected, toFloat(d.IsConnected), name)
		gauge(descReplicationWaiting, float64(d.Waiting), name)
		gauge(descReplicationWait, d.WaitSeconds, name)
		gauge(descReplicationLag, d.LagSeconds, name)
	}
}

var _ prometheus.Collector = replicationMetrics{}

// replicationProblems returns what needs attention about the replica, by database; "" is about what watches it.
func replicationProblems(now time.Time) map[string]string {
	state, err := readReplication()
	switch {
	case err != nil:
		return map[string]string{"": err.Error()}
	case state == nil && os.Getenv(replicationVariable) != "":
		return map[string]string{"": "nothing is known of it yet: does the service replication run?"}
	case state == nil:
		return nil
	}
	return state.Problems(now)
}
