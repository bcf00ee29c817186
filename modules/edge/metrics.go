package edge

import (
	"errors"
	"sync"
	"sync/atomic"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/theworklabs/edge/internal/registry"
	"github.com/theworklabs/edge/internal/resource"
	"github.com/theworklabs/edge/internal/tracestats"
	"github.com/theworklabs/edge/internal/version"
	"github.com/theworklabs/edge/modules/certificates"
	"github.com/theworklabs/edge/modules/logs"
)

// metrics collects the metrics of the registry.
type metrics struct{ runtime *runtime }

var (
	serviceLabels = []string{"service"}

	descEndpoints   = prometheus.NewDesc("edge_endpoints", "Endpoints of a service by state.", []string{"service", "state"}, nil)
	descInfo        = prometheus.NewDesc("edge_service_info", "1 for each Compose project that a service's name, or an endpoint of it, is of.", []string{"service", "project"}, nil)
	descInFlight    = prometheus.NewDesc("edge_requests_in_flight", "Requests on the endpoints of a service.", serviceLabels, nil)
	descHeld        = prometheus.NewDesc("edge_requests_held", "Requests that wait for a ready endpoint.", serviceLabels, nil)
	descRetries     = prometheus.NewDesc("edge_retries_total", "Requests that were sent again after they were sent and not answered.", serviceLabels, nil)
	descLost        = prometheus.NewDesc("edge_requests_lost_total", "Requests without a complete answer of the service, by outcome.", []string{"service", "outcome"}, nil)
	descSockets     = prometheus.NewDesc("edge_sockets", "Open WebSockets and other upgraded connections.", serviceLabels, nil)
	descExhausted   = prometheus.NewDesc("edge_resource_exhausted_total", "Attempts that failed because the edge had run out of something of its own.", []string{"resource"}, nil)
	descSpoofed     = prometheus.NewDesc("edge_spoofed_headers_total", "Request headers and trailers that were dropped, by what they claimed.", []string{"claim"}, nil)
	descMaintenance = prometheus.NewDesc("edge_maintenance", "1 while an operator has a service in maintenance, else 0.", serviceLabels, nil)
	descEjections   = prometheus.NewDesc("edge_ejections_total", "How often an endpoint was taken out of rotation because it failed requests.", serviceLabels, nil)
	descDrains      = prometheus.NewDesc("edge_drains_total", "How often an endpoint began to drain.", serviceLabels, nil)
	descChecks      = prometheus.NewDesc("edge_probe_checks_total", "Checks of the endpoints by the service's probe, by result.", []string{"service", "result"}, nil)
	descConnected   = prometheus.NewDesc("edge_source_connected", "1 if a source of endpoints is connected to what it reads, else 0.", []string{"source"}, nil)
	descBuild       = prometheus.NewDesc("edge_build_info", "1, with the versions of the edge, of Caddy and of Go.", []string{"version", "caddy_version", "go_version"}, nil)
	descGeneration  = prometheus.NewDesc("edge_config_generation", "How many configurations have been activated since the start of the process.", nil, nil)
	descDroppedLogs = prometheus.NewDesc("edge_log_entries_dropped_total", "Log entries that were dropped, because the queue was full or they could not be written.", nil, nil)
	descRestarts    = prometheus.NewDesc("edge_restarts_total", "Unhealthy containers for whose restart the edge has asked, by outcome.", []string{"outcome"}, nil)
	descBytes       = prometheus.NewDesc("edge_socket_bytes_total", "Bytes that upgraded connections have carried, by who sent them.", []string{"service", "from"}, nil)
)

// spoofedKinds are the kinds of dropped headers, by what they would have told the application, as modules/downstream names them.
var spoofedKinds = []string{"address", "host", "scheme", "url", "certificate"}

// registerMetrics adds the metrics to those of a configuration; each configuration has its own registry of metrics.
func (a *App) registerMetrics(to *prometheus.Registry) error {
	if to == nil {
		return nil
	}
	for _, collector := range []prometheus.Collector{metrics{a.runtime}, a.runtime.traffic, a.runtime.discoveryLag, certificates.Collector{Monitor: a.runtime.certificates}, maintenanceMetrics{a.runtime}, recoveryMetrics{a.runtime}, a.runtime.deployments, replicationMetrics{}, tracestats.New()} {
		err := to.Register(collector)
		if _, isRegistered := errors.AsType[prometheus.AlreadyRegisteredError](err); err != nil && !isRegistered {
			return err
		}
	}
	return nil
}

// Describe implements prometheus.Collector.
func (metrics) Describe(to chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{descBuild, descInfo, descEndpoints, descInFlight, descHeld, descRetries, descLost, descSockets, descBytes, descExhausted, descSpoofed, descEjections, descDrains, descChecks, descConnected, descGeneration, descRestarts, descDroppedLogs} {
		to <- d
	}
}

// Collect implements prometheus.Collector.
func (m metrics) Collect(to chan<- prometheus.Metric) {
	total := func(d *prometheus.Desc, value uint64, label string) {
		to <- prometheus.MustNewConstMetric(d, prometheus.CounterValue, float64(value), label)
	}
	for _, kind := range resource.Kinds {
		total(descExhausted, m.runtime.exhaustion.counts.get(string(kind)), string(kind))
	}
	for _, kind := range spoofedKinds {
		total(descSpoofed, m.runtime.spoofedHeaders.get(kind), kind)
	}
	to <- prometheus.MustNewConstMetric(descDroppedLogs, prometheus.CounterValue, float64(logs.Dropped()))
	for _, outcome := range []string{restarted, notRestarted} {
		total(descRestarts, m.runtime.restarter.counts.get(outcome), outcome)
	}
	for source, isConnected := range m.runtime.registry.Connected() {
		to <- prometheus.MustNewConstMetric(descConnected, prometheus.GaugeValue, toFloat(isConnected), source)
	}
	v := version.Program()
	to <- prometheus.MustNewConstMetric(descBuild, prometheus.GaugeValue, 1, v.Edge, v.Caddy, v.Go)
	to <- prometheus.MustNewConstMetric(descGeneration, prometheus.GaugeValue, float64(m.runtime.generation.Load()))
	for _, s := range m.runtime.registry.Snapshot() {
		gauge := func(d *prometheus.Desc, value int, labels ...string) {
			to <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, float64(value), append([]string{s.Service}, labels...)...)
		}
		counter := func(d *prometheus.Desc, value uint64, labels ...string) {
			to <- prometheus.MustNewConstMetric(d, prometheus.CounterValue, float64(value), append([]string{s.Service}, labels...)...)
		}
		for _, project := range s.Projects {
			gauge(descInfo, 1, project)
		}
		for state, n := range s.StateCounts() {
			gauge(descEndpoints, n, string(state))
		}
		gauge(descInFlight, s.InFlight)
		gauge(descHeld, s.Held)
		gauge(descSockets, s.Sockets)
		counter(descRetries, s.Retries)
		counter(descLost, s.Lost.Refused, registry.OutcomeRefused.String())
		counter(descLost, s.Lost.NotSent, registry.OutcomeNotSent.String())
		counter(descLost, s.Lost.NotAnswered, registry.OutcomeNotAnswered.String())
		counter(descLost, s.Lost.Unknown, registry.OutcomeUnknown.String())
		counter(descLost, s.Lost.Incomplete, registry.OutcomeIncomplete.String())
		counter(descEjections, s.Ejected)
		counter(descDrains, s.Drained)
		counter(descChecks, s.Checks.Successful, "successful")
		counter(descChecks, s.Checks.Failed, "failed")
		counter(descBytes, s.Traffic.FromClients, "clients")
		counter(descBytes, s.Traffic.FromEndpoint, "endpoint")
	}
}

func newDiscoveryLag() prometheus.Histogram {
	return prometheus.NewHistogram(prometheus.HistogramOpts{
		Name: "edge_discovery_lag_seconds", Help: "The time from an event of the Docker Engine until it has taken effect.",
		Buckets: []float64{.001, .002, .005, .01, .02, .05, .1, .2, .5, 1, 5, 30},
	})
}

// maintenanceMetrics collects which services are in maintenance.
type maintenanceMetrics struct{ runtime *runtime }

// Describe implements prometheus.Collector.
func (maintenanceMetrics) Describe(to chan<- *prometheus.Desc) { to <- descMaintenance }

// Collect implements prometheus.Collector.
func (m maintenanceMetrics) Collect(to chan<- prometheus.Metric) {
	snapshot := m.runtime.maintenance.Snapshot()
	for _, s := range m.runtime.registry.Snapshot() {
		value := 0.0
		if snapshot.Window(s.Service) != nil {
			value = 1
		}
		to <- prometheus.MustNewConstMetric(descMaintenance, prometheus.GaugeValue, value, s.Service)
	}
}

// counters is a set of counters with names. The zero value is ready to use, and safe for concurrent use.
type counters struct{ byName sync.Map }

func (c *counters) add(name string) {
	n, ok := c.byName.Load(name)
	if !ok {
		n, _ = c.byName.LoadOrStore(name, new(atomic.Uint64))
	}
	n.(*atomic.Uint64).Add(1)
}

func (c *counters) get(name string) uint64 {
	if n, ok := c.byName.Load(name); ok {
		return n.(*atomic.Uint64).Load()
	}
	return 0
}

// Interface guards
var (
	_ prometheus.Collector = metrics{}
	_ prometheus.Collector = maintenanceMetrics{}
)
