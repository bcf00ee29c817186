package traffic

import (
	"slices"
	"time"
)

const (
	// baselineInterval is the time that one value of the baseline covers.
	baselineInterval = 10 * time.Minute
	// baselineLength is how many values there are: a day.
	baselineLength = 144
	// minBaselineRequests is how many requests an interval needs, so that its latency says something.
	minBaselineRequests = 20
	// minBaselineValues is how many values are needed: less than half an hour of an incident is no baseline.
	minBaselineValues = 3
)

// baseline is the 95th percentile of a service's latency in each interval of the last day.
type baseline struct {
	current interval
	values  [baselineLength]float32 // seconds, by the interval's number; 0: too few requests
	number  int64                   // of the current interval
	median  float64
}

// add counts a request.
func (b *baseline) add(now time.Time, bucket int) {
	switch number := now.UnixNano() / int64(baselineInterval); {
	case number > b.number:
		b.advance(number)
	case number < b.number-1: // the clock was set back; one interval less is a request that waited for another
		*b = baseline{number: number}
	}
	b.current.requests++
	b.current.latencies[bucket]++
}

// advance ends the current interval.
func (b *baseline) advance(number int64) {
	if b.current.requests >= minBaselineRequests {
		b.values[b.number%baselineLength] = float32(b.current.percentile(.95))
	} else if b.number != 0 {
		b.values[b.number%baselineLength] = 0
	}
	for skipped := max(b.number+1, number-baselineLength+1); b.number != 0 && skipped <= number; skipped++ {
		b.values[skipped%baselineLength] = 0 // without requests, and yesterday's of the new interval
	}
	b.current, b.number = interval{}, number
	known := make([]float32, 0, baselineLength)
	for _, v := range b.values {
		if v > 0 {
			known = append(known, v)
		}
	}
	b.median = 0
	if slices.Sort(known); len(known) >= minBaselineValues {
		b.median = float64(known[len(known)/2])
	}
}
