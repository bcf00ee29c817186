package traffic

import (
	"math"
	"sync"
	"time"
)

const (
	// HistoryInterval is the time that one [Point] covers.
	HistoryInterval = 5 * time.Second
	// HistoryLength is how many points there are: 15 minutes.
	HistoryLength = 180

	// Latencies are counted in buckets from 1 ms to more than a minute, whose bounds grow by the square root of two.
	shortestLatency    = time.Millisecond
	latencyBuckets     = 34
	bucketsPerDoubling = 2
)

// Point is what happened in one interval.
type Point struct {
	Start    time.Time `json:"start"`
	Requests uint32    `json:"requests"`
	Errors   uint32    `json:"errors"` // responses with a status from 500 on
	// Maintenance is how many of the errors were answers of a maintenance.
	Maintenance uint32 `json:"maintenance,omitempty"`
	// P50, P95 and P99 are percentiles of the duration, in seconds, exact to a fifth; 0 without requests.
	P50 float64 `json:"p50"`
	P95 float64 `json:"p95"`
	P99 float64 `json:"p99"`
}

// history has the last minutes of a service in a ring. It takes memory with its first request. It is safe for concurrent use.
type history struct {
	mu       sync.Mutex
	ring     *[HistoryLength]interval
	baseline *baseline
}

type interval struct {
	number           int64 // of the interval since 1970; another number's counts are outdated
	requests, errors uint32
	own, maintenance uint32 // of the errors
	lost             uint32
	latencies        [latencyBuckets]uint32
}

func intervalNumber(t time.Time) int64 { return t.UnixNano() / int64(HistoryInterval) }

func (h *history) add(now time.Time, r Request) {
	bucket, number := latencyBucket(r.Duration), intervalNumber(now)
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.ring == nil {
		h.ring, h.baseline = new([HistoryLength]interval), new(baseline)
	}
	h.baseline.add(now, bucket)
	i := &h.ring[number%HistoryLength]
	if i.number != number {
		*i = interval{number: number}
	}
	i.requests++
	if r.IsLost {
		i.lost++
	}
	if r.Status >= 500 {
		i.errors++
		if r.IsOwn {
			i.own++
		}
		if r.IsMaintenance {
			i.maintenance++
		}
	}
	i.latencies[bucket]++
}

// points returns the intervals that have ended, the oldest first.
func (h *history) points(now time.Time) []Point {
	last := intervalNumber(now) - 1
	points := make([]Point, 0, HistoryLength-1)
	h.mu.Lock()
	defer h.mu.Unlock()
	for number := last - HistoryLength + 2; number <= last; number++ {
		p := Point{Start: time.Unix(0, number*int64(HistoryInterval)).UTC()}
		if h.ring != nil {
			if i := &h.ring[number%HistoryLength]; i.number == number {
				p.Requests, p.Errors, p.Maintenance = i.requests, i.errors, i.maintenance
				p.P50, p.P95, p.P99 = i.percentile(.5), i.percentile(.95), i.percentile(.99)
			}
		}
		points = append(points, p)
	}
	return points
}

// latencyBucket returns the index of the bucket of a duration. Bucket 0 has all below 1 ms, the last one all above its lower bound.
func latencyBucket(d time.Duration) int {
	if d < shortestLatency {
		return 0
	}
	return min(1+int(bucketsPerDoubling*math.Log2(float64(d)/float64(shortestLatency))), latencyBuckets-1)
}

// percentile returns the duration, in seconds, that a part of the requests did not exceed: the middle of its bucket.
func (i *interval) percentile(part float64) float64 {
	rank := uint32(math.Ceil(part * float64(i.requests)))
	var below uint32
	for bucket, count := range i.latencies {
		if below += count; below >= rank && rank > 0 {
			return shortestLatency.Seconds() * math.Exp2((float64(bucket)-.5)/bucketsPerDoubling)
		}
	}
	return 0
}

// Summary is what happened in the last intervals.
type Summary struct {
	RequestsPerSecond float64 `json:"requests_per_second"`
	ErrorsPerSecond   float64 `json:"errors_per_second"` // responses with a status from 500 on
	// OwnErrorsPerSecond are those of them that the edge has answered itself, and LostPerSecond the requests that got no complete answer of an endpoint, and should have.
	OwnErrorsPerSecond float64 `json:"own_errors_per_second"`
	LostPerSecond      float64 `json:"lost_per_second"`
	// P50, P95 and P99 are percentiles of the duration, in seconds, exact to a fifth; 0 without requests.
	P50 float64 `json:"p50"`
	P95 float64 `json:"p95"`
	P99 float64 `json:"p99"`
	// BaselineP95 is the median of P95 of each ten minutes of the last day; 0 if there were requests in less than half an hour of it.
	BaselineP95 float64 `json:"baseline_p95,omitempty"`
}

// summary summarizes the last intervals that have ended.
func (h *history) summary(now time.Time, intervals int64) Summary {
	var all interval
	last := intervalNumber(now) - 1
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.ring == nil {
		return Summary{}
	}
	for number := last - intervals + 1; number <= last; number++ {
		i := &h.ring[number%HistoryLength]
		if i.number != number {
			continue
		}
		all.requests += i.requests
		all.errors += i.errors
		all.own += i.own
		all.lost += i.lost
		for bucket, count := range i.latencies {
			all.latencies[bucket] += count
		}
	}
	seconds := (time.Duration(intervals) * HistoryInterval).Seconds()
	return Summary{
		RequestsPerSecond: float64(all.requests) / seconds, ErrorsPerSecond: float64(all.errors) / seconds,
		OwnErrorsPerSecond: float64(all.own) / seconds, LostPerSecond: float64(all.lost) / seconds,
		P50: all.percentile(.5), P95: all.percentile(.95), P99: all.percentile(.99), BaselineP95: h.baseline.median,
	}
}
