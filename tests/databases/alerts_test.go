package databases

import (
	"slices"
	"testing"
	"time"

	"github.com/theworklabs/edge/tests/harness"
)

// replicationAlerts are those about the replica. PrimaryWasAlone is not there, since it stays for 15 minutes.
var replicationAlerts = []string{"PrimaryDown", "CommitsWaitForTheReplica", "PrimaryAlone", "CommitsSlow", "ReplicaLag", "ReplicationUnknown"}

// expectAlert waits until Prometheus has an alert of both databases, pending or firing, and fails the test if another one about the replica fires, but for those that may follow.
func (tr *trio) expectAlert(t *testing.T, name string, mayFollow ...string) {
	t.Helper()
	start := time.Now()
	var seen map[string]bool
	harness.EventuallyWithin(t, 2*time.Minute, "Prometheus has the alert "+name, func() bool {
		alerts, err := tr.first.Alerts(t.Context(), `alertname="`+name+`"`)
		seen = make(map[string]bool)
		for _, a := range alerts {
			seen[a["database"]] = true
		}
		return err == nil && (seen["mariadb"] && seen["postgres"] || seen[""])
	})
	t.Logf("%s: there after %.0f s", name, time.Since(start).Seconds())
	alerts, err := tr.first.Alerts(t.Context(), `alertstate="firing"`)
	if err != nil {
		t.Fatal(err)
	}
	for _, a := range alerts {
		if other := a["alertname"]; other != name && slices.Contains(replicationAlerts, other) && !slices.Contains(mayFollow, other) {
			t.Errorf("%s fires, too: %v", other, a)
		}
	}
}

// expectNoAlert waits until no alert about the replica is left. CommitsSlow may be pending: commits that have waited for a replica that was lost count for a minute.
func (tr *trio) expectNoAlert(t *testing.T) {
	t.Helper()
	harness.EventuallyWithin(t, 2*time.Minute, "Prometheus has no alert about the replica", func() bool {
		alerts, err := tr.first.Alerts(t.Context(), "")
		return err == nil && !slices.ContainsFunc(alerts, func(a map[string]string) bool {
			return slices.Contains(replicationAlerts, a["alertname"]) && (a["alertname"] != "CommitsSlow" || a["alertstate"] == "firing")
		})
	})
}
