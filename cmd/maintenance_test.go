package cmd

import (
	"bytes"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/spf13/cobra"

	"github.com/theworklabs/edge/internal/maintenance"
)

// runMaintenanceCommand runs the command against an admin API.
func runMaintenanceCommand(t *testing.T, a http.Handler, args ...string) (stdout, stderr string, err error) {
	t.Helper()
	server := httptest.NewServer(a)
	defer server.Close()
	c := &cobra.Command{Use: "maintenance"}
	maintenanceCommand().CobraFunc(c)
	var out, errs bytes.Buffer
	c.SetOut(&out)
	c.SetErr(&errs)
	c.SetArgs(append(args, "--address", strings.TrimPrefix(server.URL, "http://")))
	err = c.ExecuteContext(t.Context())
	return out.String(), errs.String(), err
}

const maintenanceResponse = `{"services": [{"service": "api:80", "since": "2026-01-02T03:04:05Z", "hold": true, "allow": ["10.0.0.0/8", "::1/128"], "retry_after": "5m0s", "message": "Back\nat noon."}]}`

func TestMaintenanceSendsRequestAndPrintsWindows(t *testing.T) {
	for _, c := range []struct {
		args []string
		want string
	}{
		{nil, `GET /edge/maintenance `},
		{[]string{"on"}, `POST /edge/maintenance {"allow":[],"hold":false,"message":"","on":true,"retry_after":"5m0s"}`},
		{[]string{"on", "api", "web:80", "--hold"}, `POST /edge/maintenance {"allow":[],"hold":true,"message":"","on":true,"retry_after":"5m0s","services":["api","web:80"]}`},
		{
			[]string{"on", "--allow", "10.0.0.0/8,::1", "--allow", "192.0.2.7", "--retry-after", "1h", "--message", "Back, at noon."},
			`POST /edge/maintenance {"allow":["10.0.0.0/8","::1","192.0.2.7"],"hold":false,"message":"Back, at noon.","on":true,"retry_after":"1h0m0s"}`,
		},
		{[]string{"off"}, `POST /edge/maintenance {"on":false}`},
		{[]string{"off", "api"}, `POST /edge/maintenance {"on":false,"services":["api"]}`},
	} {
		a := &fakeAdmin{status: 200, body: maintenanceResponse}
		out, _, err := runMaintenanceCommand(t, a, c.args...)
		if err != nil || len(a.requests) != 1 || a.requests[0] != c.want {
			t.Errorf("%v: %v\nrequests %q, want\n%s", c.args, err, a.requests, c.want)
		}
		if !strings.Contains(out, "api:80") || !strings.Contains(out, "held      5m0s         10.0.0.0/8 ::1/128  Back at noon.\n") {
			t.Errorf("printed\n%s", out)
		}
	}
	const newer = `{"services": {"api:80": "a newer edge answers in another form"}}`
	if out, _, err := runMaintenanceCommand(t, &fakeAdmin{status: 200, body: newer}, "--json"); err != nil || out != newer {
		t.Errorf("%v, printed %q", err, out)
	}
	if out, _, err := runMaintenanceCommand(t, &fakeAdmin{status: 200, body: `{"services": []}`}); err != nil || out != "no service is in maintenance\n" {
		t.Errorf("%v, printed %q", err, out)
	}
}

func TestMaintenancePrintsErrorsAndHints(t *testing.T) {
	for _, c := range []struct {
		admin fakeAdmin
		args  []string
		want  string
	}{
		{fakeAdmin{status: 404, body: `{"error":"no service \"x\" (known: api:80)"}`}, []string{"on", "x"}, "edge: error: no service \"x\" (known: api:80)\nedge: hint: edge status shows"},
		{fakeAdmin{status: 400, body: `{"error":"allow \"x\": want an address"}`}, []string{"on", "--allow", "x"}, "edge: error: allow \"x\": want an address\n"},
		{fakeAdmin{status: 500, body: `{"error":"nothing is changed: store x: disk full"}`}, []string{"off"}, "nothing is changed: store x: disk full\nedge: hint: can the edge write to its storage?"},
		{fakeAdmin{status: 200, body: `broken`}, nil, "read the answer of"},
		{fakeAdmin{}, []string{"api"}, "maintenance is on or off, got \"api\"\nedge: hint: edge maintenance on api"},
		{fakeAdmin{}, []string{"off", "--hold"}, "--hold has a meaning only when maintenance is turned on"},
		{fakeAdmin{}, []string{"--message", "x"}, "--message has a meaning only when"},
		{fakeAdmin{}, []string{"on", "--retry-after", "0s"}, "--retry-after must be positive"},
	} {
		if _, stderr, err := runMaintenanceCommand(t, &c.admin, c.args...); err == nil || !strings.Contains(stderr, c.want) {
			t.Errorf("%v: %v, printed %q, want %q", c.args, err, stderr, c.want)
		}
		if c.admin.status == 0 && len(c.admin.requests) > 0 {
			t.Errorf("%v: sent %q", c.args, c.admin.requests)
		}
	}
}

func TestMaintenanceTableHasOneLinePerService(t *testing.T) {
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	var out bytes.Buffer
	err := printMaintenance(&out, []*maintenance.Window{
		{Service: "api:80", Since: now.Add(-90 * time.Second), RetryAfter: maintenance.Duration(time.Hour), Message: "Back\n\tsoon."},
	}, now)
	want := "SERVICE  FOR    REQUESTS  RETRY AFTER  ALLOWED  MESSAGE\n" +
		"api:80   1m30s  refused   1h0m0s       nobody   Back soon.\n"
	if err != nil || out.String() != want {
		t.Errorf("%v, printed\n%s, want\n%s", err, &out, want)
	}
}
