package ratelimit

import (
	"errors"
	"maps"
	"slices"

	"github.com/prometheus/client_golang/prometheus"
)

// collector reads the zones' counts when Prometheus scrapes the edge.
type collector struct{}

var (
	descRequests = prometheus.NewDesc("edge_rate_limit_requests_total", "Requests by the decision of a zone.", []string{"zone", "decision"}, nil)
	descKeys     = prometheus.NewDesc("edge_rate_limit_keys", "Keys whose bucket is not full.", []string{"zone"}, nil)
)

// registerMetrics registers the collector with a configuration's registry, unless another handler of the configuration has done so.
func registerMetrics(registry *prometheus.Registry) error {
	if registry == nil {
		return nil
	}
	err := registry.Register(collector{})
	if _, isRegistered := errors.AsType[prometheus.AlreadyRegisteredError](err); isRegistered {
		return nil
	}
	return err
}

// Describe implements prometheus.Collector.
func (collector) Describe(descs chan<- *prometheus.Desc) {
	descs <- descRequests
	descs <- descKeys
}

// zoneTotals is the sum of the counts of one zone name: during a reload with another max_keys, there are two states of that name.
type zoneTotals struct {
	allowed, uncounted, limited, dryRun, exempt uint64
	keys                                        int
}

// ZoneStatus is what a zone has decided since the start of the edge.
type ZoneStatus struct {
	Name    string `json:"name"`
	Passed  uint64 `json:"passed"`  // requests that were let through
	Limited uint64 `json:"limited"` // requests that were refused
	Keys    int    `json:"keys"`    // that have sent something lately
}

// Zones returns the zones of the active configuration, by name.
func Zones() []ZoneStatus {
	totals := totalsByZone()
	zones := make([]ZoneStatus, 0, len(totals))
	for _, name := range slices.Sorted(maps.Keys(totals)) {
		t := totals[name]
		zones = append(zones, ZoneStatus{Name: name, Passed: t.allowed + t.uncounted + t.dryRun + t.exempt, Limited: t.limited, Keys: t.keys})
	}
	return zones
}

func totalsByZone() map[string]*zoneTotals {
	totals := make(map[string]*zoneTotals)
	zoneStates.Range(func(_, value any) bool {
		s := value.(*zoneState)
		t := totals[s.zone]
		if t == nil {
			t = new(zoneTotals)
			totals[s.zone] = t
		}
		t.allowed += s.allowed.Load()
		t.uncounted += s.uncounted.Load()
		t.limited += s.limited.Load()
		t.dryRun += s.dryRun.Load()
		t.exempt += s.exempt.Load()
		t.keys += s.limiter.CountKeys()
		return true
	})
	return totals
}

// Collect implements prometheus.Collector.
func (collector) Collect(metrics chan<- prometheus.Metric) {
	totals := totalsByZone()
	for zone, t := range totals {
		for decision, n := range map[string]uint64{"allowed": t.allowed, "uncounted": t.uncounted, "limited": t.limited, "dry_run": t.dryRun, "exempt": t.exempt} {
			metrics <- prometheus.MustNewConstMetric(descRequests, prometheus.CounterValue, float64(n), zone, decision)
		}
		metrics <- prometheus.MustNewConstMetric(descKeys, prometheus.GaugeValue, float64(t.keys), zone)
	}
}

var _ prometheus.Collector = collector{}
