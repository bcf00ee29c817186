package load

import (
	"slices"
	"sync"
	"time"
)

// Sample is one request and its outcome.
type Sample struct {
	Method  string
	ID      string
	Due     time.Time     // when it had to be sent; a busy machine may send it later
	Took    time.Duration // from Due to the end of the response
	Outcome Outcome
	Backend string // the backend that answered
	Repeats int    // how often the client repeated it by itself, because a kept connection had been closed
	Detail  string // why it was not answered
}

// Record has all requests of a stream. Use Samples and the methods when the stream has ended.
type Record struct {
	Began   time.Time
	Samples []Sample

	mu sync.Mutex
}

func (r *Record) add(s Sample) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.Samples = append(r.Samples, s)
}

// Tally counts the requests of one method by their outcomes.
type Tally struct {
	N        int `json:"n"`
	Answered int `json:"answered"`
	Refused  int `json:"refused"`
	Unknown  int `json:"unknown"`
	Wrong    int `json:"wrong"`
	Repeated int `json:"repeated"` // by the client itself, of those answered
}

// Lost returns how many requests the application has not answered.
func (t Tally) Lost() int { return t.N - t.Answered }

// Add adds the counts of another tally.
func (t *Tally) Add(other Tally) {
	t.N += other.N
	t.Answered += other.Answered
	t.Refused += other.Refused
	t.Unknown += other.Unknown
	t.Wrong += other.Wrong
	t.Repeated += other.Repeated
}

func (t *Tally) count(s Sample) {
	t.N++
	switch s.Outcome {
	case Answered:
		t.Answered++
		if s.Repeats > 0 {
			t.Repeated++
		}
	case Refused:
		t.Refused++
	case Unknown:
		t.Unknown++
	case Wrong:
		t.Wrong++
	}
}

// Tallies returns the tally of each method.
func (r *Record) Tallies() map[string]Tally {
	all := make(map[string]Tally)
	for _, s := range r.Samples {
		t := all[s.Method]
		t.count(s)
		all[s.Method] = t
	}
	return all
}

// Lost returns the requests that the application has not answered.
func (r *Record) Lost() (lost []Sample) {
	for _, s := range r.Samples {
		if s.Outcome != Answered {
			lost = append(lost, s)
		}
	}
	return lost
}

// Recovery returns the time from the first request that was lost or took longer than slow, until the end of the last such request. It
// is 0 if there was none.
func (r *Record) Recovery(slow time.Duration) time.Duration {
	var first, last time.Time
	for _, s := range r.Samples {
		if s.Outcome == Answered && s.Took <= slow {
			continue
		}
		if first.IsZero() || s.Due.Before(first) {
			first = s.Due
		}
		if end := s.Due.Add(s.Took); end.After(last) {
			last = end
		}
	}
	return last.Sub(first)
}

// Latency has exact percentiles of the times of requests, whatever their outcomes.
type Latency struct {
	P50 time.Duration
	P99 time.Duration
	Max time.Duration
}

// Latency returns the percentiles of the requests of some methods; of all requests if there is no method. They are 0 if there is no
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

// percentile returns the smallest value that a proportion p of the sorted values do not exceed (nearest rank).
func percentile(sorted []time.Duration, p float64) time.Duration {
	if len(sorted) == 0 {
		return 0
	}
	rank := int(p*float64(len(sorted)) + 0.999999)
	return sorted[min(max(rank, 1), len(sorted))-1]
}
