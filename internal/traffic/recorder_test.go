package traffic

import (
	"fmt"
	"math"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
)

func TestRequestsAreCountedByClasses(t *testing.T) {
	r := NewRecorder()
	s := r.Service("api:80")
	for _, request := range []Request{
		{Method: "GET", Status: 200},
		{Method: "HEAD", Status: 204},
		{Method: "", Status: 302},
		{Method: "PUT", Status: 201},
		{Method: "DELETE", Status: 404},
		{Method: "POST", Status: 500},
		{Method: "PATCH", Status: 502},
		{Method: "BREW", Status: 499},
		{Method: "GET", Status: 101},
		{Method: "GET", Status: 999},
		{Method: "GET"},
	} {
		s.Add(request)
	}
	want := map[string]float64{"2xx safe": 2, "3xx safe": 1, "2xx idempotent": 1, "4xx idempotent": 1, "5xx other": 2, "4xx other": 1, "1xx safe": 1, "5xx safe": 2}
	for _, code := range codeClasses {
		for _, method := range methodClasses {
			if got := testutil.ToFloat64(r.requests.WithLabelValues("api:80", code, method)); got != want[code+" "+method] {
				t.Errorf("%s %s: %v, want %v", code, method, got, want[code+" "+method])
			}
		}
	}
}

// TestASeriesExistsBeforeTheFirstRequest of a counter, so that its first error is an increase; of a histogram, it does not.
func TestASeriesExistsBeforeTheFirstRequest(t *testing.T) {
	r := NewRecorder()
	s := r.Service("api:80")
	if got, want := testutil.CollectAndCount(r), len(codeClasses)*len(methodClasses); got != want {
		t.Errorf("%d series, want %d", got, want)
	}
	s.Add(Request{Method: "GET", Status: 200, Duration: time.Second, Held: time.Millisecond, FirstByte: time.Millisecond})
	if got, want := testutil.CollectAndCount(r), len(codeClasses)*len(methodClasses)+3; got != want {
		t.Errorf("%d series, want %d", got, want)
	}
}

// TestClientsCannotMakeSeries by methods and statuses of their own.
func TestClientsCannotMakeSeries(t *testing.T) {
	r := NewRecorder()
	s := r.Service("api:80")
	for i := range 2000 {
		s.Add(Request{Method: fmt.Sprint("METHOD", i), Status: i, Duration: time.Duration(i), Held: 1, Connect: 1, FirstByte: 1})
	}
	if got, want := testutil.CollectAndCount(r), len(codeClasses)*len(methodClasses)+len(codeClasses)+len(phases); got != want {
		t.Errorf("%d series, want %d", got, want)
	}
}

func TestForgottenServicesHaveNoSeries(t *testing.T) {
	r := NewRecorder()
	for _, name := range []string{"api:80", "web:80"} {
		r.Service(name).Add(Request{Method: "GET", Status: 200, Duration: time.Second})
	}
	kept := r.Service("web:80")
	r.Retain(func(name string) bool { return name == "web:80" })
	if got := testutil.CollectAndCount(r, "edge_request_duration_seconds"); got != 1 || r.Service("web:80") != kept {
		t.Errorf("%d histograms, want that of web:80", got)
	}
	r.Service("api:80").Add(Request{Method: "GET", Status: 200})
	if got := testutil.ToFloat64(r.requests.WithLabelValues("api:80", "2xx", MethodSafe)); got != 1 {
		t.Errorf("a service that comes back has %v requests, want 1", got)
	}
}

func TestAnExemplarHasTheTraceID(t *testing.T) {
	r := NewRecorder()
	r.Service("api:80").Add(Request{Method: "GET", Status: 200, Duration: 20 * time.Millisecond, TraceID: "4bf92f3577b34da6a3ce929d0e0e4736"})
	registry := prometheus.NewRegistry()
	registry.MustRegister(r)
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		if strings.Contains(f.String(), "4bf92f3577b34da6a3ce929d0e0e4736") {
			return
		}
	}
	t.Error("no exemplar has it")
}

func TestTheHistoryHasTheLastMinutes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := NewRecorder().Service("api:80")
		if got := s.History(); len(got) != HistoryLength-1 || got[0].Requests != 0 {
			t.Errorf("before the first request: %d points", len(got))
		}
		for i := range 100 {
			s.Add(Request{Method: "GET", Status: 200, Duration: time.Duration(i+1) * 10 * time.Millisecond})
		}
		s.Add(Request{Method: "GET", Status: 503, Duration: time.Microsecond, IsOwn: true, IsMaintenance: true})
		s.Add(Request{Method: "GET", Status: 502, Duration: time.Microsecond, IsOwn: true, IsLost: true})
		s.Add(Request{Method: "GET", Status: 500, Duration: time.Microsecond})
		s.Add(Request{Method: "GET", Status: 499, Duration: time.Microsecond, IsOwn: true}) // no error
		if got := s.History(); got[len(got)-1].Requests != 0 {
			t.Error("an interval that has not ended is shown")
		}
		time.Sleep(HistoryInterval)
		points := s.History()
		last := points[len(points)-1]
		if last.Requests != 104 || last.Errors != 3 || last.Maintenance != 1 || time.Since(last.Start) != HistoryInterval {
			t.Errorf("got %+v", last)
		}
		for _, c := range []struct{ got, want float64 }{{last.P50, .5}, {last.P95, .95}, {last.P99, .99}} {
			if math.Abs(c.got-c.want) > c.want/5 {
				t.Errorf("a percentile is %v, want %v", c.got, c.want)
			}
		}
		if got := s.Summary(time.Minute); math.Abs(got.RequestsPerSecond-104./60) > .01 || math.Abs(got.ErrorsPerSecond-3./60) > .001 || math.Abs(got.OwnErrorsPerSecond-2./60) > .001 || math.Abs(got.LostPerSecond-1./60) > .001 || math.Abs(got.P95-.95) > .2 {
			t.Errorf("the summary is %+v", got)
		}
		time.Sleep(HistoryInterval * (HistoryLength - 2))
		if got := s.Summary(time.Minute); got != (Summary{}) {
			t.Errorf("the summary of a quiet minute is %+v", got)
		}
		if points = s.History(); points[0].Requests != 104 {
			t.Errorf("the oldest point is %+v", points[0])
		}
		time.Sleep(HistoryInterval)
		for _, p := range s.History() {
			if p.Requests != 0 {
				t.Errorf("a point outlives the history: %+v", p)
			}
		}
		s.Add(Request{Method: "GET", Status: 200, Duration: time.Hour}) // in the place of an old interval
		time.Sleep(HistoryInterval)
		if points = s.History(); points[len(points)-1].Requests != 1 || points[len(points)-1].P99 < 60 {
			t.Errorf("got %+v", points[len(points)-1])
		}
	})
}

func BenchmarkAdd(b *testing.B) {
	s := NewRecorder().Service("api:80")
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			s.Add(Request{Method: "GET", Status: 200, Duration: 12 * time.Millisecond, FirstByte: 11 * time.Millisecond})
		}
	})
}
