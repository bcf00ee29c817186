// Package traffic counts the requests of services: how many there were, with which results, and how long they took.
package traffic

import (
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// Classes of methods, by what sending a request twice does (RFC 9110 section 9.2). Each request has one, whatever method a client makes up.
const (
	MethodSafe       = "safe"       // GET, HEAD, OPTIONS, TRACE
	MethodIdempotent = "idempotent" // PUT, DELETE
	MethodOther      = "other"
)

// Phases of a request's way to the first byte of its response.
const (
	PhaseHeld      = "held"       // until an endpoint was ready, or a maintenance ended; only of requests that had to wait
	PhaseConnect   = "connect"    // until a new connection was made; only of requests that needed one
	PhaseFirstByte = "first_byte" // from then on, until the head of the response has arrived
)

var (
	codeClasses   = [...]string{"1xx", "2xx", "3xx", "4xx", "5xx"}
	methodClasses = [...]string{MethodSafe, MethodIdempotent, MethodOther}
	phases        = [...]string{PhaseHeld, PhaseConnect, PhaseFirstByte}

	// buckets are the classic buckets, in seconds. Prometheus gets native ones, too, if it asks for them.
	buckets = []float64{.005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30, 60}
)

const (
	nativeBucketFactor  = 1.1 // neighboring native buckets differ by 10 %
	nativeBucketLimit   = 100 // of one histogram, which limits its memory
	nativeResetInterval = time.Hour
)

// Recorder has the figures of all services. It is a [prometheus.Collector], and safe for concurrent use.
type Recorder struct {
	requests  *prometheus.CounterVec
	durations *prometheus.HistogramVec
	waits     *prometheus.HistogramVec

	mu       sync.Mutex
	services map[string]*Service
}

// NewRecorder returns a Recorder without services.
func NewRecorder() *Recorder {
	histogram := func(name, help, label string) *prometheus.HistogramVec {
		return prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: name, Help: help, Buckets: buckets,
			NativeHistogramBucketFactor: nativeBucketFactor, NativeHistogramMaxBucketNumber: nativeBucketLimit, NativeHistogramMinResetDuration: nativeResetInterval,
		}, []string{"service", label})
	}
	return &Recorder{
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "edge_requests_total", Help: "Requests by the class of their status and of their method.",
		}, []string{"service", "code_class", "method_class"}),
		durations: histogram("edge_request_duration_seconds", "The time from the arrival of a request until its response has been sent.", "code_class"),
		waits:     histogram("edge_request_wait_seconds", "The time that requests spent in a phase before the first byte of their response.", "phase"),
		services:  make(map[string]*Service),
	}
}

// Service returns the figures of a service, and begins them with its first call.
func (r *Recorder) Service(name string) *Service {
	r.mu.Lock()
	defer r.mu.Unlock()
	s := r.services[name]
	if s == nil {
		s = newService(r, name)
		r.services[name] = s
	}
	return s
}

// Retain forgets the services for which keep returns false. Requests of theirs that have not ended are not counted any more.
func (r *Recorder) Retain(keep func(name string) bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for name := range r.services {
		if keep(name) {
			continue
		}
		delete(r.services, name)
		labels := prometheus.Labels{"service": name}
		r.requests.DeletePartialMatch(labels)
		r.durations.DeletePartialMatch(labels)
		r.waits.DeletePartialMatch(labels)
	}
}

// Describe implements [prometheus.Collector].
func (r *Recorder) Describe(to chan<- *prometheus.Desc) {
	r.requests.Describe(to)
	r.durations.Describe(to)
	r.waits.Describe(to)
}

// Collect implements [prometheus.Collector].
func (r *Recorder) Collect(to chan<- prometheus.Metric) {
	r.requests.Collect(to)
	r.durations.Collect(to)
	r.waits.Collect(to)
}

var _ prometheus.Collector = (*Recorder)(nil)
