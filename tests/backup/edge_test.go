package backup

import (
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/theworklabs/edge/tests/harness"
)

// get asks the edge, and returns the status, the header Retry-After and the body.
func (s *testStack) get(t *testing.T, path string) (status int, retryAfter, body string) {
	t.Helper()
	addresses, err := s.project.Addresses(t.Context(), "edge", "default")
	if err != nil || len(addresses) != 1 {
		t.Fatalf("addresses of the edge: %v, %v", addresses, err)
	}
	client := http.Client{Timeout: 10 * time.Second}
	resp, err := client.Get("http://" + addresses[0] + ":8080" + path)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, resp.Header.Get("Retry-After"), string(text)
}

// TestTheEdgeShowsBackupsAndMaintenance: the edge has the metrics of a backup, its status says what has failed, and during a restore it shows
// the maintenance page.
func TestTheEdgeShowsBackupsAndMaintenance(t *testing.T) {
	harness.LongOnly(t, "backups")
	stack.mustEdge(t, "backup", "corteza", "edge")
	harness.Eventually(t, "the metrics have the backup", func() bool {
		_, _, body := stack.get(t, "/metrics")
		return strings.Contains(body, `edge_backup_success{application="corteza",project="`+projectName+`"} 1`) &&
			strings.Contains(body, `edge_backup_overdue{application="edge",project="`+projectName+`"} 0`) &&
			strings.Contains(body, `edge_recovery_point_timestamp_seconds{application="corteza"`)
	})

	done := make(chan error, 1)
	go func() {
		_, err := stack.edge(t.Context(), "restore", "latest", "corteza")
		done <- err
	}()
	sawPage := false
	for isDone := false; !isDone; {
		select {
		case err := <-done:
			if err != nil {
				t.Fatal(err)
			}
			isDone = true
		case <-time.After(100 * time.Millisecond):
			if status, retryAfter, body := stack.get(t, "/"); status == http.StatusServiceUnavailable && retryAfter != "" && strings.Contains(body, "The data of this application is being restored.") {
				sawPage = true
			}
		}
	}
	if !sawPage {
		t.Error("the maintenance page was never shown")
	}
	if out := stack.project.MustCompose(t, "exec", "-T", "edge", "edge", "maintenance"); strings.Contains(out, "crm") {
		t.Errorf("the maintenance goes on: %s", out)
	}

	stack.project.MustCompose(t, "stop", "crm-db")
	if _, err := stack.edge(t.Context(), "backup", "corteza"); err == nil {
		t.Error("a database that does not run is backed up")
	}
	if out := stack.project.MustCompose(t, "exec", "-T", "edge", "edge", "status"); !strings.Contains(out, "backup of "+projectName+"/corteza: the last backup failed: crm-db does not run") {
		t.Errorf("edge status prints\n%s", out)
	}
	stack.awaitStack(t)
}
