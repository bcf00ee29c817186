package traffic

import (
	"slices"
	"time"
)

const (
	// usualInterval is the time that one value of the usual latency covers.
	usualInterval = 10 * time.Minute
	// usualLength is how many values there are: a day.
	usualLength = 144
	// minUsualRequests is how many requests an interval needs, so that its latency says something.
	minUsualRequests = 20
	// minUsual is how many values are needed: less than half an hour of an incident is not usual.
	minUsual = 3
)

// usual is the 95th percentile of a service's latency in each interval of the last day.
type usual struct {
	current interval
	values  [usualLength]float32 // seconds, by the interval's number; 0: too few requests
	number  int64                // of the current interval
	median  float64
}

// add counts a request.
func (u *usual) add(now time.Time, bucket int) {
	number := now.UnixNano() / int64(usualInterval)
	if number != u.number {
		u.advance(number)
	}
	u.current.requests++
	u.current.latencies[bucket]++
}

// advance ends the current interval.
func (u *usual) advance(number int64) {
	if u.current.requests >= minUsualRequests {
		u.values[u.number%usualLength] = float32(u.current.percentile(.95))
	} else if u.number != 0 {
		u.values[u.number%usualLength] = 0
	}
	for skipped := max(u.number+1, number-usualLength+1); u.number != 0 && skipped <= number; skipped++ {
		u.values[skipped%usualLength] = 0 // without requests, and yesterday's of the new interval
	}
	u.current, u.number = interval{}, number
	known := make([]float32, 0, usualLength)
	for _, v := range u.values {
		if v > 0 {
			known = append(known, v)
		}
	}
	u.median = 0
	if slices.Sort(known); len(known) >= minUsual {
		u.median = float64(known[len(known)/2])
	}
}
