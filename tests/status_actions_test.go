package tests

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/crypto/bcrypt"

	"github.com/theworklabs/edge/internal/testport"
	"github.com/theworklabs/edge/tests/harness"
)

// TestTheStatusPagesButtonsInABrowser drains a container, undoes it, and closes and opens a service. Nothing happens before it is confirmed, and the log has each action with its user.
func TestTheStatusPagesButtonsInABrowser(t *testing.T) {
	backend := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	defer backend.Close()
	const password = "only for this test"
	hash, err := bcrypt.GenerateFromPassword([]byte(password), bcrypt.MinCost)
	if err != nil {
		t.Fatal(err)
	}
	site, dir := testport.Address(t), t.TempDir()
	edge := harness.StartEdge(t, fmt.Sprintf("{\n\tadmin off\n\tpersist_config off\n\tauto_https off\n\tstorage file_system %s\n\tedge {\n\t\tresolver 127.0.0.1:1\n\t\tstatic app:80 %s\n\t}\n}\nhttp://%s {\n"+
		"\thandle_path /status* {\n\t\tbasic_auth {\n\t\t\tanna %s\n\t\t}\n\t\tedge_status {\n\t\t\tactions\n\t\t}\n\t}\n\thandle {\n\t\tedge_proxy app:80\n\t}\n}\n",
		dir, backend.Listener.Addr(), site, hash))
	harness.Eventually(t, "the service is ready", func() bool {
		resp, err := http.Get("http://" + site)
		if err != nil {
			return false
		}
		resp.Body.Close()
		return resp.StatusCode == http.StatusOK
	})
	pictures := dir
	if kept := os.Getenv("EDGE_TEST_PICTURES"); kept != "" {
		pictures = kept
	}
	var stderr strings.Builder
	browser := exec.CommandContext(t.Context(), "node", filepath.Join("browser", "actions.js"), "http://"+site+"/status/", "anna", password, pictures)
	browser.Stderr = &stderr
	out, err := browser.Output()
	if err != nil {
		t.Fatalf("%v: %s", err, &stderr)
	}
	var seen struct {
		Errors, Violations          []string
		Unconfirmed                 int
		Drain, Drained, Undo, Close string
		Open, Failed                string
		Closed, Opened              int
	}
	if err := json.Unmarshal(out, &seen); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	if len(seen.Errors) > 0 || len(seen.Violations) > 0 || seen.Unconfirmed != 0 {
		t.Errorf("errors %q, violations of axe %q, %d actions that nobody has confirmed", seen.Errors, seen.Violations, seen.Unconfirmed)
	}
	if !strings.HasPrefix(seen.Drain, "Send no new requests to ") || !strings.Contains(seen.Drained, "drained by an operator") || !strings.HasPrefix(seen.Undo, "Send new requests to ") {
		t.Errorf("drain: it asks %q, shows %q, and asks %q", seen.Drain, seen.Drained, seen.Undo)
	}
	if seen.Close != "Close app:80 to visitors?" || seen.Closed != http.StatusServiceUnavailable || seen.Open != "Open app:80 to visitors?" || seen.Opened != http.StatusOK {
		t.Errorf("maintenance: it asks %q, visitors get %d, it asks %q, they get %d", seen.Close, seen.Closed, seen.Open, seen.Opened)
	}
	if seen.Failed != "That did not work: 502" {
		t.Errorf("of a failure, it says %q", seen.Failed)
	}
	if log := edge.Output(); strings.Count(log, "anna on the status page") < 4 || !strings.Contains(log, "drain") || !strings.Contains(log, "maintenance") {
		t.Errorf("the log lacks actions or their user:\n%s", log)
	}
}
