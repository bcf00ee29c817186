package load

import (
	"sync"
	"time"
)

// Sample is one request and what became of it.
type Sample struct {
	Method  string
	ID      string
	Due     time.Time     // when it should have been sent, and was unless the machine was late
	Took    time.Duration // from Due to the end of its answer
	Outcome Outcome
	Backend string // who answered
	Repeats int    // how often the client repeated it by itself, because a kept connection had been closed
	Detail  string // why it was not answered
}

// Record is all requests of a stream. It is safe for concurrent use while the stream runs; Samples is for afterwards.
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

// Tally is how many requests of one method had which outcome.
type Tally struct {
	N        int `json:"n"`
	Answered int `json:"answered"`
	Refused  int `json:"refused"`
	Unknown  int `json:"unknown"`
	Wrong    int `json:"wrong"`
	Repeated int `json:"repeated"` // by the client itself, of those answered
}

// Lost is how many were not answered by the application.
func (t Tally) Lost() int { return t.N - t.Answered }

// Add adds what another tally counted.
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

// Lost returns the requests that the application did not answer.
func (r *Record) Lost() (lost []Sample) {
	for _, s := range r.Samples {
		if s.Outcome != Answered {
			lost = append(lost, s)
		}
	}
	return lost
}

// Recovery is how long it took until all was well again: from when the first request that was lost or took longer than
// slow was due, until the last of them was over. It is 0 if there was none.
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
