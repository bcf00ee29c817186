package load

import (
	"testing"
	"time"
)

// sampleAt returns a GET that was due after some milliseconds and took some milliseconds.
func sampleAt(due, took int, o Outcome) Sample {
	return Sample{
		Method: "GET", Outcome: o,
		Due: time.UnixMilli(int64(due)), Took: time.Duration(took) * time.Millisecond,
	}
}

func TestRecoverySpansFirstToLastTrouble(t *testing.T) {
	for _, c := range []struct {
		name    string
		samples []Sample
		want    time.Duration
	}{
		{"no request", nil, 0},
		{"no loss", []Sample{sampleAt(0, 5, Answered), sampleAt(100, 5, Answered)}, 0},
		{"one is lost", []Sample{sampleAt(0, 5, Answered), sampleAt(100, 7, Refused), sampleAt(200, 5, Answered)}, 7 * time.Millisecond},
		{"one is lost, one late", []Sample{sampleAt(100, 7, Refused), sampleAt(50, 1500, Answered), sampleAt(900, 5, Answered)}, 1500 * time.Millisecond},
		{"in any order", []Sample{sampleAt(900, 100, Unknown), sampleAt(100, 7, Wrong)}, 900 * time.Millisecond},
	} {
		if got := (&Record{Samples: c.samples}).Recovery(time.Second); got != c.want {
			t.Errorf("%s: %s, want %s", c.name, got, c.want)
		}
	}
}

func TestPercentilesAreExact(t *testing.T) {
	r := &Record{}
	for i := range 200 {
		r.add(sampleAt(0, 200-i, Answered))
	}
	got := r.Latency()
	want := Latency{P50: 100 * time.Millisecond, P99: 198 * time.Millisecond, Max: 200 * time.Millisecond}
	if got != want {
		t.Errorf("%+v, want %+v", got, want)
	}
	if got := (&Record{}).Latency(); got != (Latency{}) {
		t.Errorf("%+v of no request, want zeros", got)
	}
	one := &Record{Samples: []Sample{sampleAt(0, 3, Answered)}}
	if got := one.Latency(); got.P50 != got.Max || got.P99 != 3*time.Millisecond {
		t.Errorf("%+v of one request, want 3 ms throughout", got)
	}
	mixed := &Record{Samples: []Sample{
		{Method: "GET", Took: time.Second}, {Method: "POST", Took: 3 * time.Second}, {Method: "PUT", Took: 2 * time.Second},
	}}
	if got := mixed.Latency("GET", "PUT"); got.Max != 2*time.Second {
		t.Errorf("%+v of GET and PUT, want a maximum of 2 s", got)
	}
}

func TestTalliesCountEachMethodByItsOutcomes(t *testing.T) {
	repeated := sampleAt(0, 1, Answered)
	repeated.Repeats = 2
	post := sampleAt(0, 1, Unknown)
	post.Method = "POST"
	r := &Record{Samples: []Sample{sampleAt(0, 1, Answered), repeated, sampleAt(0, 1, Refused), sampleAt(0, 1, Wrong), post}}
	got := r.Tallies()
	if want := (Tally{N: 4, Answered: 2, Refused: 1, Wrong: 1, Repeated: 1}); got["GET"] != want || got["GET"].Lost() != 2 {
		t.Errorf("GET %+v, want %+v", got["GET"], want)
	}
	if want := (Tally{N: 1, Unknown: 1}); got["POST"] != want {
		t.Errorf("POST %+v, want %+v", got["POST"], want)
	}
	sum := got["GET"]
	sum.Add(got["POST"])
	if want := (Tally{N: 5, Answered: 2, Refused: 1, Unknown: 1, Wrong: 1, Repeated: 1}); sum != want {
		t.Errorf("the sum is %+v, want %+v", sum, want)
	}
	if lost := r.Lost(); len(lost) != 3 {
		t.Errorf("%d requests are lost, want 3", len(lost))
	}
}
