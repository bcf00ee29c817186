package edge

import "github.com/prometheus/client_golang/prometheus"

var descMaintenance = prometheus.NewDesc("edge_maintenance", "1 while an operator has a service in maintenance, else 0.", serviceLabels, nil)

// maintenanceMetrics tells Prometheus which services are in maintenance.
type maintenanceMetrics struct{ runtime *runtime }

// Describe implements prometheus.Collector.
func (maintenanceMetrics) Describe(to chan<- *prometheus.Desc) { to <- descMaintenance }

// Collect implements prometheus.Collector.
func (m maintenanceMetrics) Collect(to chan<- prometheus.Metric) {
	book := m.runtime.maintenanceState.Snapshot()
	for _, s := range m.runtime.registry.Snapshot() {
		on := 0.0
		if book.Window(s.Service) != nil {
			on = 1
		}
		to <- prometheus.MustNewConstMetric(descMaintenance, prometheus.GaugeValue, on, s.Service)
	}
}

var _ prometheus.Collector = maintenanceMetrics{}
