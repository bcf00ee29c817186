package traffic

import (
	"math"
	"testing"
	"testing/synctest"
	"time"
)

// TestAnIncidentIsNotUsual, however long the service has been slow, up to half a day: what the status page compares with must not follow.
func TestAnIncidentIsNotUsual(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := NewRecorder().Service("api:80")
		serve := func(duration time.Duration, latency time.Duration) {
			for end := time.Now().Add(duration); time.Now().Before(end); time.Sleep(10 * time.Second) {
				s.Add(Request{Method: "GET", Status: 200, Duration: latency})
			}
		}
		want := func(what string, seconds float64) {
			t.Helper()
			if got := s.Summary(time.Minute).BaselineP95; math.Abs(got-seconds) > seconds/5 {
				t.Errorf("%s: %v is usual, want %v", what, got, seconds)
			}
		}
		serve(10*time.Minute, 100*time.Millisecond)
		want("after ten minutes", 0)
		serve(25*time.Hour, 100*time.Millisecond)
		want("after a day", .1)
		serve(11*time.Hour, 2*time.Second)
		want("in an incident", .1)
		serve(2*time.Hour, 2*time.Second)
		want("after half a day", 2)
		time.Sleep(3 * baselineInterval)
		serve(10*time.Minute, 100*time.Millisecond)
		time.Sleep(25 * time.Hour)
		s.Add(Request{Method: "GET", Status: 200, Duration: time.Second})
		want("after a day without requests", 0)
	})
}

// TestARequestOfTheIntervalBeforeKeepsTheBaseline: two requests at the boundary come in any order. A clock that is set back begins anew.
func TestARequestOfTheIntervalBeforeKeepsTheBaseline(t *testing.T) {
	var b baseline
	start := time.Unix(0, 0).Add(1000 * baselineInterval)
	for i := range 5 {
		for range minBaselineRequests {
			b.add(start.Add(time.Duration(i)*baselineInterval), latencyBucket(time.Second))
		}
		if i > 0 {
			b.add(start.Add(time.Duration(i)*baselineInterval-1), latencyBucket(time.Second))
		}
	}
	if math.Abs(b.median-1) > .2 {
		t.Errorf("the median of four intervals is %v", b.median)
	}
	b.add(start, latencyBucket(time.Second))
	if b.median != 0 {
		t.Errorf("after the clock was set back by 40 minutes, the median is %v", b.median)
	}
}

// TestAFewRequestsAreNotUsual: the latency of ten requests says little.
func TestAFewRequestsAreNotUsual(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := NewRecorder().Service("api:80")
		for range 300 {
			s.Add(Request{Method: "GET", Status: 200, Duration: time.Second})
			time.Sleep(time.Minute)
		}
		if got := s.Summary(time.Minute).BaselineP95; got != 0 {
			t.Errorf("%v is usual", got)
		}
	})
}
