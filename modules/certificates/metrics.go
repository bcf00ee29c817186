package certificates

import (
	"github.com/caddyserver/caddy/v2"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/theworklabs/edge/internal/certs"
)

var (
	nameLabels = []string{"name"}

	descCertNotAfter = prometheus.NewDesc("edge_certificate_not_after_timestamp_seconds", "When a name's certificate expires, as a Unix time.", nameLabels, nil)
	descCertRenewal  = prometheus.NewDesc("edge_certificate_renewal_timestamp_seconds", "About when a name's certificate will be renewed, as a Unix time.", nameLabels, nil)
	descCertSuccess  = prometheus.NewDesc("edge_certificate_last_issuance_success", "Whether the last attempt to get a name's certificate succeeded.", nameLabels, nil)
	descCertFailures = prometheus.NewDesc("edge_certificate_failures_total", "Attempts to get a name's certificate that failed, by reason.", []string{"name", "reason"}, nil)
)

// Collector collects the metrics of the certificates of the active configuration.
type Collector struct{ Monitor *Monitor }

// Describe implements prometheus.Collector.
func (Collector) Describe(to chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{descCertNotAfter, descCertRenewal, descCertSuccess, descCertFailures} {
		to <- d
	}
}

// Collect implements prometheus.Collector.
func (c Collector) Collect(to chan<- prometheus.Metric) {
	shown := make(map[string]bool)
	for _, s := range c.Monitor.Status(caddy.ActiveContext()) {
		shown[s.Name] = true
		for desc, at := range map[*prometheus.Desc]int64{descCertNotAfter: s.NotAfter.Unix(), descCertRenewal: s.RenewalAt.Unix()} {
			if at > 0 {
				to <- prometheus.MustNewConstMetric(desc, prometheus.GaugeValue, float64(at), s.Name)
			}
		}
	}
	for _, e := range c.Monitor.tracker.Entries() {
		if !shown[e.Name] || !e.Attempted {
			continue
		}
		success := 1.0
		if e.LastFailure != nil {
			success = 0
		}
		to <- prometheus.MustNewConstMetric(descCertSuccess, prometheus.GaugeValue, success, e.Name)
		for _, reason := range certs.Reasons {
			if n := e.FailureCounts[reason]; n > 0 {
				to <- prometheus.MustNewConstMetric(descCertFailures, prometheus.CounterValue, float64(n), e.Name, string(reason))
			}
		}
	}
}

var _ prometheus.Collector = Collector{}
