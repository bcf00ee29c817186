package main

import (
	"strings"
	"testing"
	"time"

	"github.com/theworklabs/edge/tests/reliability/load"
	"github.com/theworklabs/edge/tests/reliability/sockets"
)

func TestPromises(t *testing.T) {
	well := map[string]load.Tally{"GET": {N: 10, Answered: 10}, "POST": {N: 5, Answered: 5}}
	lostGET := map[string]load.Tally{"GET": {N: 10, Answered: 9, Unknown: 1}}
	lostPOST := map[string]load.Tally{"POST": {N: 5, Answered: 4, Unknown: 1}}
	for _, c := range []struct {
		name    string
		promise promise
		result  Result
		want    string // "": kept
	}{
		{"all is well", promise{anyMethod: true, sockets: true, ratio: 1.5}, Result{Methods: well, ControlMethods: well, Ratio: 1.5}, ""},
		{"a GET is lost", promise{}, Result{Methods: lostGET}, "1 of 10 idempotent requests were lost"},
		{"a POST is lost, as may be", promise{}, Result{Methods: lostPOST}, ""},
		{"a POST is lost in a rollout", promise{anyMethod: true}, Result{Methods: lostPOST}, "1 of 5 POSTs were lost"},
		{"a POST came twice", promise{}, Result{Twice: 2}, "2 POSTs were carried out twice"},
		{"the control loses a GET", promise{}, Result{ControlMethods: lostGET}, "left alone"},
		{"the control loses a POST", promise{}, Result{ControlMethods: lostPOST}, ""},
		{"it is slow", promise{ratio: 1.5}, Result{Ratio: 1.6}, "1.6 times the control's"},
		{
			"a WebSocket is lost",
			promise{sockets: true},
			Result{ControlSockets: sockets.Census{Opened: 3, Alive: 2, Codes: map[int]int{1006: 1}}},
			"1 of 3 WebSockets were lost",
		},
		{"nothing is promised", promise{nothing: true}, Result{Methods: lostGET, Twice: 1}, ""},
	} {
		got := strings.Join(c.promise.broken(c.result), "; ")
		if got == "" != (c.want == "") || !strings.Contains(got, c.want) {
			t.Errorf("%s: %q, want %q", c.name, got, c.want)
		}
	}
}

func TestALeftoverIsMoreThanComesAndGoes(t *testing.T) {
	for _, c := range []struct {
		l     Leftover
		clean bool
	}{
		{Leftover{GoroutinesBefore: 30, GoroutinesAfter: 30 + goroutineSlack, FilesBefore: 12, FilesAfter: 12 + fileSlack}, true},
		{Leftover{GoroutinesBefore: 30, GoroutinesAfter: 31 + goroutineSlack, FilesBefore: 12, FilesAfter: 12}, false},
		{Leftover{GoroutinesBefore: 30, GoroutinesAfter: 20, FilesBefore: 12, FilesAfter: 13 + fileSlack}, false},
	} {
		if got := c.l.Clean(); got != c.clean {
			t.Errorf("%s: clean %t", c.l, got)
		}
	}
}

func TestHistogram(t *testing.T) {
	times := []time.Duration{0, -time.Millisecond, 499 * time.Millisecond, 500 * time.Millisecond, 1600 * time.Millisecond}
	if got := histogram(times, 500*time.Millisecond); got != "3 1 0 1" {
		t.Errorf("%q", got)
	}
	if got := histogram(nil, time.Second); got != "" {
		t.Errorf("%q of nothing", got)
	}
}
