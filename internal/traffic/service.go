package traffic

import (
	"net/http"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// Request is a request that has ended.
type Request struct {
	Method string
	Status int // that the client got; 499 if it disconnected before
	// Duration is the time from the arrival of the request until its response has been sent, or until its protocol was switched.
	Duration time.Duration
	// Held, Connect and FirstByte are the times of its phases. One that is 0 is not counted.
	Held, Connect, FirstByte time.Duration
	TraceID                  string // of a trace that is recorded; "" if there is none
	IsOwn                    bool   // the edge has answered itself, since no endpoint has
	IsLost                   bool   // it is one of the requests that got no complete answer of an endpoint, and should have
	IsMaintenance            bool   // it was a maintenance that has answered
}

// Service has the figures of one service. It is safe for concurrent use.
type Service struct {
	requests  [len(codeClasses)][len(methodClasses)]prometheus.Counter
	durations [len(codeClasses)]lazyHistogram
	waits     [len(phases)]lazyHistogram
	history   history
}

func newService(r *Recorder, name string) *Service {
	s := new(Service)
	for i, code := range codeClasses {
		for j, method := range methodClasses {
			s.requests[i][j] = r.requests.WithLabelValues(name, code, method) // also without a request: the first error must show as an increase
		}
		s.durations[i].open = func() prometheus.Observer { return r.durations.WithLabelValues(name, code) }
	}
	for i, phase := range phases {
		s.waits[i].open = func() prometheus.Observer { return r.waits.WithLabelValues(name, phase) }
	}
	return s
}

// Add counts a request.
func (s *Service) Add(r Request) {
	code := codeClass(r.Status)
	s.requests[code][methodClass(r.Method)].Inc()
	s.durations[code].observe(r.Duration, r.TraceID)
	for i, wait := range [len(phases)]time.Duration{r.Held, r.Connect, r.FirstByte} {
		if wait > 0 {
			s.waits[i].observe(wait, r.TraceID)
		}
	}
	s.history.add(time.Now(), r)
}

// History returns the last minutes of the service, the oldest first.
func (s *Service) History() []Point { return s.history.points(time.Now()) }

// Summary returns what happened in the last minutes: at most those of the history.
func (s *Service) Summary(d time.Duration) Summary {
	return s.history.summary(time.Now(), min(int64(d/HistoryInterval), HistoryLength-1))
}

// codeClass returns the index of a status's class. A status that HTTP does not have is a server error.
func codeClass(status int) int {
	if status < 100 || status > 599 {
		return len(codeClasses) - 1
	}
	return status/100 - 1
}

// methodClass returns the index of a method's class.
func methodClass(method string) int {
	switch method {
	case http.MethodGet, http.MethodHead, http.MethodOptions, http.MethodTrace, "":
		return 0
	case http.MethodPut, http.MethodDelete:
		return 1
	}
	return 2
}

// lazyHistogram is a histogram that takes no memory, and has no series, before its first value.
type lazyHistogram struct {
	open     func() prometheus.Observer
	once     sync.Once
	observer prometheus.Observer
}

func (h *lazyHistogram) observe(d time.Duration, traceID string) {
	h.once.Do(func() { h.observer = h.open() })
	if traceID != "" {
		h.observer.(prometheus.ExemplarObserver).ObserveWithExemplar(d.Seconds(), prometheus.Labels{"trace_id": traceID})
		return
	}
	h.observer.Observe(d.Seconds())
}
