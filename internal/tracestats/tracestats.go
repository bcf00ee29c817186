// Package tracestats counts the spans that OpenTelemetry's SDK has exported, and those that it has lost because the receiver is down, slow or full.
package tracestats

import (
	"context"
	"os"
	"strings"
	"sync"

	"github.com/prometheus/client_golang/prometheus"
	"go.opentelemetry.io/otel"
	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"
)

// The SDK counts spans only if this variable is set; the feature is experimental, so that its names are used here only.
const enable = "OTEL_GO_X_OBSERVABILITY"

// Instruments of the SDK, in OpenTelemetry's semantic conventions.
const (
	prefix    = "otel.sdk."
	exported  = prefix + "exporter.span.exported"
	processed = prefix + "processor.span.processed"
	errorType = "error.type"
)

var spans = prometheus.NewDesc("edge_trace_spans_total",
	"Spans by what became of them: exported; failed, because the receiver did not take them; dropped, because too many wait for the receiver.",
	[]string{"outcome"}, nil)

// Collector is the Prometheus collector of the process.
type Collector struct{ reader *sdkmetric.ManualReader }

// New returns the collector of the process. Its first call must come before the SDK makes its first exporter: it provides what the SDK counts with.
// It is safe for concurrent use.
var New = sync.OnceValue(func() *Collector {
	if _, isSet := os.LookupEnv(enable); !isSet {
		_ = os.Setenv(enable, "true") // fails for malformed names only
	}
	reader := sdkmetric.NewManualReader()
	otel.SetMeterProvider(sdkmetric.NewMeterProvider(sdkmetric.WithReader(reader), sdkmetric.WithView(onlySDK)))
	return &Collector{reader}
})

// onlySDK drops all other instruments. Those of the HTTP handler have the client's Host header as an attribute, so that clients could make series.
func onlySDK(i sdkmetric.Instrument) (sdkmetric.Stream, bool) {
	return sdkmetric.Stream{Aggregation: sdkmetric.AggregationDrop{}}, !strings.HasPrefix(i.Name, prefix)
}

// Describe implements [prometheus.Collector].
func (*Collector) Describe(ch chan<- *prometheus.Desc) { ch <- spans }

// Collect implements [prometheus.Collector]. It sends nothing while there were no spans.
func (c *Collector) Collect(ch chan<- prometheus.Metric) {
	var data metricdata.ResourceMetrics
	if err := c.reader.Collect(context.Background(), &data); err != nil {
		ch <- prometheus.NewInvalidMetric(spans, err)
		return
	}
	counts := make(map[string]float64)
	for _, scope := range data.ScopeMetrics {
		for _, m := range scope.Metrics {
			sum, ok := m.Data.(metricdata.Sum[int64])
			if !ok {
				continue
			}
			for _, point := range sum.DataPoints {
				_, failed := point.Attributes.Value(errorType)
				switch {
				case m.Name == exported && !failed:
					counts["exported"] += float64(point.Value)
				case m.Name == exported:
					counts["failed"] += float64(point.Value)
				case m.Name == processed && failed:
					counts["dropped"] += float64(point.Value)
				}
			}
		}
	}
	if len(counts) == 0 {
		return
	}
	for _, outcome := range []string{"exported", "failed", "dropped"} {
		ch <- prometheus.MustNewConstMetric(spans, prometheus.CounterValue, counts[outcome], outcome)
	}
}

var _ prometheus.Collector = (*Collector)(nil)
