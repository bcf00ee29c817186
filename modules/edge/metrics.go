package edge

import (
	"errors"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/theworklabs/edge/internal/registry"
	"github.com/theworklabs/edge/internal/resource"
)

// metrics tells Prometheus what the registry knows, when it asks.
type metrics struct{ runtime *runtime }

var (
	serviceLabels = []string{"service"}

	descEndpoints = prometheus.NewDesc("edge_endpoints", "Endpoints of a service by state.", []string{"service", "state"}, nil)
	descInFlight  = prometheus.NewDesc("edge_requests_in_flight", "Requests on the endpoints of a service.", serviceLabels, nil)
	descHeld      = prometheus.NewDesc("edge_requests_held", "Requests that wait for a ready endpoint.", serviceLabels, nil)
	descRetries   = prometheus.NewDesc("edge_retries_total", "Requests that were sent again after they were sent and not answered.", serviceLabels, nil)
	descLost      = prometheus.NewDesc("edge_requests_lost_total", "Requests without an answer of the service, by outcome.", []string{"service", "outcome"}, nil)
	descSockets   = prometheus.NewDesc("edge_sockets", "Open WebSockets and other upgraded connections.", serviceLabels, nil)
	descExhausted = prometheus.NewDesc("edge_resource_exhausted_total", "Attempts that failed because the edge had run out of something of its own.", []string{"resource"}, nil)
	descSpoofed   = prometheus.NewDesc("edge_spoofed_headers_total", "Request headers and trailers that were dropped, by what they claimed.", []string{"claim"}, nil)
	descBytes     = prometheus.NewDesc("edge_socket_bytes_total", "Bytes that upgraded connections have carried, by who sent them.", []string{"service", "from"}, nil)
)

// spoofedKinds are what dropped headers claimed, as modules/downstream names it.
var spoofedKinds = []string{"address", "host", "scheme", "url", "certificate"}

// registerMetrics adds the metrics to a configuration's, of which each has its own.
func (a *App) registerMetrics(to *prometheus.Registry) error {
	if to == nil {
		return nil
	}
	for _, collector := range []prometheus.Collector{metrics{a.runtime}, certMetrics{a.runtime}, maintenanceMetrics{a.runtime}} {
		err := to.Register(collector)
		if _, again := errors.AsType[prometheus.AlreadyRegisteredError](err); err != nil && !again {
			return err
		}
	}
	return nil
}

// Describe implements prometheus.Collector.
func (metrics) Describe(to chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{descEndpoints, descInFlight, descHeld, descRetries, descLost, descSockets, descBytes, descExhausted, descSpoofed} {
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
	for _, s := range m.runtime.registry.Snapshot() {
		gauge := func(d *prometheus.Desc, value int, labels ...string) {
			to <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, float64(value), append([]string{s.Service}, labels...)...)
		}
		counter := func(d *prometheus.Desc, value uint64, labels ...string) {
			to <- prometheus.MustNewConstMetric(d, prometheus.CounterValue, float64(value), append([]string{s.Service}, labels...)...)
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
		counter(descBytes, s.Traffic.FromClients, "clients")
		counter(descBytes, s.Traffic.FromEndpoint, "endpoint")
	}
}

var _ prometheus.Collector = metrics{}
