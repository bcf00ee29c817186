package load

import (
	"slices"
	"time"
)

// Latency is exact percentiles of how long requests took, whatever became of them.
type Latency struct {
	P50 time.Duration
	P99 time.Duration
	Max time.Duration
}

// Latency returns the percentiles of the record's requests of these methods, of all if none is given; zeros if there is no
// such request.
func (r *Record) Latency(methods ...string) Latency {
	took := make([]time.Duration, 0, len(r.Samples))
	for _, s := range r.Samples {
		if len(methods) == 0 || slices.Contains(methods, s.Method) {
			took = append(took, s.Took)
		}
	}
	slices.Sort(took)
	return Latency{P50: percentile(took, 0.50), P99: percentile(took, 0.99), Max: percentile(took, 1)}
}

// percentile returns the smallest value that p of the sorted values don't exceed (the nearest rank).
func percentile(sorted []time.Duration, p float64) time.Duration {
	if len(sorted) == 0 {
		return 0
	}
	rank := int(p*float64(len(sorted)) + 0.999999)
	return sorted[min(max(rank, 1), len(sorted))-1]
}
