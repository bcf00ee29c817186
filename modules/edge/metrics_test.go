package edge

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/caddyserver/certmagic"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"go.uber.org/zap"

	"github.com/theworklabs/edge/internal/maintenance"
	"github.com/theworklabs/edge/internal/recovery"
	"github.com/theworklabs/edge/internal/registry"
	"github.com/theworklabs/edge/internal/version"
)

func TestMetricsShowRegistryState(t *testing.T) {
	r := registry.New(registry.Options{})
	t.Cleanup(r.Close)
	s, err := r.Declare("api:80")
	if err != nil {
		t.Fatal(err)
	}
	s.Configure(registry.Settings{})
	feed := r.Feed(registry.Engine)
	feed.Set("api", []registry.Member{{ID: "a", Project: "shop", Addr: netip.MustParseAddr("10.0.0.1"), Phase: registry.Running}})
	feed.SetOnline(true)
	r.Feed(registry.DNS).Expect()
	for _, undo := range []bool{false, true} {
		if _, err := r.Drain([]string{"10.0.0.1:80"}, registry.DrainOptions{Undo: undo}); err != nil {
			t.Fatal(err)
		}
	}
	for range 3 {
		if _, err := s.Acquire(t.Context(), registry.PickOptions{ArrivedAt: time.Now()}); err != nil {
			t.Fatal(err)
		}
	}
	claim, err := s.Acquire(t.Context(), registry.PickOptions{})
	if err != nil {
		t.Fatal(err)
	}
	claim.Upgrade()
	s.CountLost(registry.OutcomeUnknown)
	if ok, err := s.AllowRetry(t.Context(), claim.Endpoint()); !ok || err != nil {
		t.Fatal(ok, err)
	}
	want := `
# HELP edge_config_generation How many configurations have been activated since the start of the process.
# TYPE edge_config_generation gauge
edge_config_generation 2
# HELP edge_drains_total How often an endpoint began to drain.
# TYPE edge_drains_total counter
edge_drains_total{service="api:80"} 1
# HELP edge_ejections_total How often an endpoint was taken out of rotation because it failed requests.
# TYPE edge_ejections_total counter
edge_ejections_total{service="api:80"} 0
# HELP edge_endpoints Endpoints of a service by state.
# TYPE edge_endpoints gauge
edge_endpoints{service="api:80",state="draining"} 0
edge_endpoints{service="api:80",state="failing"} 0
edge_endpoints{service="api:80",state="ready"} 1
edge_endpoints{service="api:80",state="starting"} 0
# HELP edge_log_entries_dropped_total Log entries that were dropped, because the queue was full or they could not be written.
# TYPE edge_log_entries_dropped_total counter
edge_log_entries_dropped_total 0
# HELP edge_probe_checks_total Checks of the endpoints by the service's probe, by result.
# TYPE edge_probe_checks_total counter
edge_probe_checks_total{result="failed",service="api:80"} 0
edge_probe_checks_total{result="successful",service="api:80"} 0
# HELP edge_requests_held Requests that wait for a ready endpoint.
# TYPE edge_requests_held gauge
edge_requests_held{service="api:80"} 0
# HELP edge_requests_in_flight Requests on the endpoints of a service.
# TYPE edge_requests_in_flight gauge
edge_requests_in_flight{service="api:80"} 3
# HELP edge_requests_lost_total Requests without a complete answer of the service, by outcome.
# TYPE edge_requests_lost_total counter
edge_requests_lost_total{outcome="incomplete",service="api:80"} 0
edge_requests_lost_total{outcome="not answered",service="api:80"} 0
edge_requests_lost_total{outcome="not sent",service="api:80"} 0
edge_requests_lost_total{outcome="refused",service="api:80"} 0
edge_requests_lost_total{outcome="unknown",service="api:80"} 1
# HELP edge_resource_exhausted_total Attempts that failed because the edge had run out of something of its own.
# TYPE edge_resource_exhausted_total counter
edge_resource_exhausted_total{resource="descriptors"} 0
edge_resource_exhausted_total{resource="memory"} 0
edge_resource_exhausted_total{resource="ports"} 0
# HELP edge_restarts_total Unhealthy containers for whose restart the edge has asked, by outcome.
# TYPE edge_restarts_total counter
edge_restarts_total{outcome="failed"} 0
edge_restarts_total{outcome="restarted"} 0
# HELP edge_retries_total Requests that were sent again after they were sent and not answered.
# TYPE edge_retries_total counter
edge_retries_total{service="api:80"} 1
# HELP edge_service_info 1 for each Compose project that a service's name, or an endpoint of it, is of.
# TYPE edge_service_info gauge
edge_service_info{project="shop",service="api:80"} 1
# HELP edge_socket_bytes_total Bytes that upgraded connections have carried, by who sent them.
# TYPE edge_socket_bytes_total counter
edge_socket_bytes_total{from="clients",service="api:80"} 0
edge_socket_bytes_total{from="endpoint",service="api:80"} 0
# HELP edge_sockets Open WebSockets and other upgraded connections.
# TYPE edge_sockets gauge
edge_sockets{service="api:80"} 1
# HELP edge_source_connected 1 if a source of endpoints is connected to what it reads, else 0.
# TYPE edge_source_connected gauge
edge_source_connected{source="dns"} 0
edge_source_connected{source="engine"} 1
# HELP edge_spoofed_headers_total Request headers and trailers that were dropped, by what they claimed.
# TYPE edge_spoofed_headers_total counter
edge_spoofed_headers_total{claim="address"} 1
edge_spoofed_headers_total{claim="certificate"} 0
edge_spoofed_headers_total{claim="host"} 0
edge_spoofed_headers_total{claim="scheme"} 0
edge_spoofed_headers_total{claim="url"} 0
`
	v := version.Program()
	build := fmt.Sprintf("# HELP edge_build_info 1, with the versions of the edge, of Caddy and of Go.\n# TYPE edge_build_info gauge\n"+
		"edge_build_info{caddy_version=%q,go_version=%q,version=%q} 1\n", v.Caddy, v.Go, v.Edge)
	rt := &runtime{registry: r}
	rt.generation.Store(2)
	rt.spoofedHeaders.add("address")
	if err := testutil.CollectAndCompare(metrics{rt}, strings.NewReader(build+want)); err != nil {
		t.Error(err)
	}
}

func TestMetricsShowMaintenance(t *testing.T) {
	r := newRuntime(zap.NewNop(), zap.NewNop())
	t.Cleanup(func() { _ = r.Destruct() })
	for _, name := range []string{"api:80", "web:80"} {
		if _, err := r.registry.Declare(name); err != nil {
			t.Fatal(err)
		}
	}
	_, err := r.maintenance.Update(t.Context(), &certmagic.FileStorage{Path: t.TempDir()}, func(current *maintenance.Snapshot) *maintenance.Snapshot {
		return current.With(maintenance.Window{Service: "api:80", RetryAfter: maintenance.Duration(time.Minute)})
	})
	if err != nil {
		t.Fatal(err)
	}
	want := `
# HELP edge_maintenance 1 while an operator has a service in maintenance, else 0.
# TYPE edge_maintenance gauge
edge_maintenance{service="api:80"} 1
edge_maintenance{service="web:80"} 0
`
	if err := testutil.CollectAndCompare(maintenanceMetrics{r}, strings.NewReader(want)); err != nil {
		t.Error(err)
	}
}

func TestMetricsShowBackupsAndDrills(t *testing.T) {
	storage := &certmagic.FileStorage{Path: t.TempDir()}
	r := newRuntime(zap.NewNop(), zap.NewNop())
	t.Cleanup(func() { _ = r.Destruct() })
	r.active = &App{storage: storage}
	point := time.Date(2020, 1, 1, 3, 0, 0, 0, time.UTC)
	report := &recovery.Report{
		Project: "shop", Time: point.Add(time.Minute), MaxAgeSeconds: 3600, DrillIntervalSeconds: 1e10,
		Backups: []recovery.Backup{{App: "crm", Set: "s", RecoveryPoint: point, Seconds: 60, Size: 2000, Added: 10, Shrunk: []string{"crm-db has 4 rows"}}, {App: "books", Error: "down"}},
		Drill:   &recovery.DrillOutcome{RecoverySeconds: 20, StepSeconds: map[string]float64{"stop": 1.5}},
	}
	if _, err := r.recovery.Add(t.Context(), storage, report); err != nil {
		t.Fatal(err)
	}
	want := `
# HELP edge_backup_added_bytes What the last set added to the repository.
# TYPE edge_backup_added_bytes gauge
edge_backup_added_bytes{application="crm",project="shop"} 10
# HELP edge_backup_duration_seconds The duration of the last backup that succeeded.
# TYPE edge_backup_duration_seconds gauge
edge_backup_duration_seconds{application="crm",project="shop"} 60
# HELP edge_backup_last_success_timestamp_seconds The end of the last backup that succeeded.
# TYPE edge_backup_last_success_timestamp_seconds gauge
edge_backup_last_success_timestamp_seconds{application="crm",project="shop"} 1.57784766e+09
# HELP edge_backup_overdue 1 if the last set of an application is older than max_age of x-edge-backup, else 0.
# TYPE edge_backup_overdue gauge
edge_backup_overdue{application="books",project="shop"} 1
edge_backup_overdue{application="crm",project="shop"} 1
# HELP edge_backup_shrunk 1 if the last set of an application has much less data than an earlier one, else 0.
# TYPE edge_backup_shrunk gauge
edge_backup_shrunk{application="crm",project="shop"} 1
# HELP edge_backup_size_bytes The size of the last set.
# TYPE edge_backup_size_bytes gauge
edge_backup_size_bytes{application="crm",project="shop"} 2000
# HELP edge_backup_success 1 if the last backup of an application succeeded, else 0.
# TYPE edge_backup_success gauge
edge_backup_success{application="books",project="shop"} 0
edge_backup_success{application="crm",project="shop"} 1
# HELP edge_drill_last_success_timestamp_seconds The end of the last drill that passed.
# TYPE edge_drill_last_success_timestamp_seconds gauge
edge_drill_last_success_timestamp_seconds{project="shop"} 1.57784766e+09
# HELP edge_drill_overdue 1 if the last drill that passed is longer ago than drill_interval of x-edge-backup, else 0.
# TYPE edge_drill_overdue gauge
edge_drill_overdue{project="shop"} 0
# HELP edge_drill_recovery_seconds How long the restore and all checks took in the last drill that passed.
# TYPE edge_drill_recovery_seconds gauge
edge_drill_recovery_seconds{project="shop"} 20
# HELP edge_drill_step_seconds How long a step took in the last drill that passed.
# TYPE edge_drill_step_seconds gauge
edge_drill_step_seconds{project="shop",step="stop"} 1.5
# HELP edge_drill_success 1 if the last drill of a project passed, else 0.
# TYPE edge_drill_success gauge
edge_drill_success{project="shop"} 1
# HELP edge_recovery_point_timestamp_seconds Until when the data of an application can be restored: the time of the last set, or of the logs that continue it.
# TYPE edge_recovery_point_timestamp_seconds gauge
edge_recovery_point_timestamp_seconds{application="crm",project="shop"} 1.5778476e+09
`
	if err := testutil.CollectAndCompare(recoveryMetrics{r}, strings.NewReader(want)); err != nil {
		t.Error(err)
	}
}
