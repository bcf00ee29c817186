package ratelimit

import (
	"errors"

	"github.com/prometheus/client_golang/prometheus"
)

// collector tells Prometheus what the zones have counted, when it asks.
type collector struct{}

var (
	descRequests = prometheus.NewDesc("edge_rate_limit_requests_total", "Requests by what a zone decided.", []string{"zone", "decision"}, nil)
	descKeys     = prometheus.NewDesc("edge_rate_limit_keys", "Keys that have used up a part of their limit.", []string{"zone"}, nil)
)

// registerMetrics adds the metrics to a configuration's, of which each has its own.
func registerMetrics(to *prometheus.Registry) error {
	if to == nil {
		return nil
	}
	err := to.Register(collector{})
	if _, again := errors.AsType[prometheus.AlreadyRegisteredError](err); again {
		return nil // another handler of the same configuration
	}
	return err
}

// Describe implements prometheus.Collector.
func (collector) Describe(to chan<- *prometheus.Desc) {
	to <- descRequests
	to <- descKeys
}

// zoneTotals adds up the counts of one name, which a reload with another size leaves two of for a moment.
type zoneTotals struct {
	allowed, uncounted, limited, dryRun, exempt uint64
	keys                                        int
}

// Collect implements prometheus.Collector.
func (collector) Collect(to chan<- prometheus.Metric) {
	zones := make(map[string]*zoneTotals)
	zoneStates.Range(func(_, value any) bool {
		c := value.(*zoneState)
		t := zones[c.zone]
		if t == nil {
			t = new(zoneTotals)
			zones[c.zone] = t
		}
		t.allowed += c.allowed.Load()
		t.uncounted += c.uncounted.Load()
		t.limited += c.limited.Load()
		t.dryRun += c.dryRun.Load()
		t.exempt += c.exempt.Load()
		t.keys += c.limiter.CountKeys()
		return true
	})
	for zone, t := range zones {
		for decision, n := range map[string]uint64{"allowed": t.allowed, "uncounted": t.uncounted, "limited": t.limited, "dry_run": t.dryRun, "exempt": t.exempt} {
			to <- prometheus.MustNewConstMetric(descRequests, prometheus.CounterValue, float64(n), zone, decision)
		}
		to <- prometheus.MustNewConstMetric(descKeys, prometheus.GaugeValue, float64(t.keys), zone)
	}
}

var _ prometheus.Collector = collector{}
