package main

import (
	"context"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/theworklabs/edge/tests/reliability/load"
	"github.com/theworklabs/edge/tests/reliability/sockets"
)

func TestViolationsOfPromisesAreFound(t *testing.T) {
	complete := map[string]load.Tally{"GET": {N: 10, Answered: 10}, "POST": {N: 5, Answered: 5}}
	lostGET := map[string]load.Tally{"GET": {N: 10, Answered: 9, Unknown: 1}}
	lostPOST := map[string]load.Tally{"POST": {N: 5, Answered: 4, Unknown: 1}}
	ignoredPromise := recreateScenario(ignoresSIGTERM).promise
	for _, c := range []struct {
		name    string
		promise promise
		result  Result
		want    string // "": the promise is kept
	}{
		{"nothing is lost", promise{anyMethod: true, sockets: true, maxP99Ratio: 1.5}, Result{Methods: complete, ControlMethods: complete, Ratio: 1.5}, ""},
		{"a GET is lost", promise{}, Result{Methods: lostGET}, "1 of 10 idempotent requests were lost"},
		{"a POST is lost, which is allowed", promise{}, Result{Methods: lostPOST}, ""},
		{"a POST is lost in a rollout", promise{anyMethod: true}, Result{Methods: lostPOST}, "1 of 5 POSTs were lost"},
		{"a POST arrives twice", promise{}, Result{Twice: 2}, "2 POSTs were processed twice"},
		{"the control loses a GET", promise{}, Result{ControlMethods: lostGET}, "requests to the control were lost"},
		{"the control loses a POST", promise{}, Result{ControlMethods: lostPOST}, ""},
		{"it is slow", promise{maxP99Ratio: 1.5}, Result{Ratio: 1.6}, "1.6 times the control's"},
		{"GETs wait for the boot", ignoredPromise, Result{Downtime: 1500, GET: Timing{P50: 42, P99: 2100}}, ""},
		{"GETs wait for the stop", ignoredPromise, Result{Downtime: 1500, GET: Timing{P50: 301, P99: 2100}}, "p50 of GET is 301 ms, want at most 300"},
		{"GETs wait for longer than the boot", ignoredPromise, Result{Downtime: 1500, GET: Timing{P50: 42, P99: 2101}}, "p99 of GET is 2101 ms, want at most 2100"},
		{"GETs wait because the machine is busy", ignoredPromise, Result{Downtime: 1500, GET: Timing{P50: 42, P99: 2190}, Control: Timing{P50: 60, P99: 150}}, ""},
		{"no promise about GET", promise{}, Result{GET: Timing{P50: 5200, P99: 12000}}, ""},
		{
			"a WebSocket is lost",
			promise{sockets: true},
			Result{ControlSockets: sockets.Tally{Opened: 3, Alive: 2, Codes: map[int]int{1006: 1}}},
			"1 of 3 WebSockets were lost",
		},
		{"a GET breaks off, and none is refused", promise{refusals: true}, Result{Methods: lostGET}, ""},
		{"one is refused", promise{refusals: true}, Result{Methods: map[string]load.Tally{"POST": {N: 2, Answered: 1, Refused: 1}}}, "1 requests were refused"},
		{"nothing is promised", promise{none: true}, Result{Methods: lostGET, Twice: 1}, ""},
	} {
		got := strings.Join(c.promise.violations(c.result), "; ")
		if got == "" != (c.want == "") || !strings.Contains(got, c.want) {
			t.Errorf("%s: %q, want %q", c.name, got, c.want)
		}
	}
}

func TestEveryTerminationHasScenarios(t *testing.T) {
	for _, terminates := range []termination{ignoresSIGTERM, unavailable} {
		for _, sc := range []scenario{recreateScenario(terminates), scaleScenario(terminates), rolloutScenario(terminates)} {
			if !slices.ContainsFunc(scenarios(), func(c scenario) bool { return c.name == sc.name }) {
				t.Errorf("%s is not among the scenarios", sc.name)
			}
			if sc.env["LAB_ON_TERM"] != terminates.name {
				t.Errorf("%s: ON_TERM is %q", sc.name, sc.env["LAB_ON_TERM"])
			}
			lost := Result{Methods: map[string]load.Tally{"GET": {N: 10, Answered: 9, Wrong: 1}}}
			if len(sc.promise.violations(lost)) == 0 {
				t.Errorf("%s: a lost GET breaks no promise", sc.name)
			}
			if sc.edgeOnly {
				t.Errorf("%s: only the edge takes part", sc.name)
			}
		}
	}
}

func TestStopsThatAreTooFastFailTheScenario(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, c := range []struct {
			termination termination
			stop        time.Duration // of each replica
			err         bool
		}{
			{immediateExit, 0, false},
			{ignoresSIGTERM, 3 * time.Second, false},
			{ignoresSIGTERM, 2900 * time.Millisecond, true},
			{unavailable, 1500 * time.Millisecond, false},
			{unavailable, 100 * time.Millisecond, true},
		} {
			s := &testbed{effort: effort{Times: 2, Stop: 3 * time.Second}}
			stops := func(ctx context.Context, s *testbed) error { return sleep(ctx, time.Duration(s.effort.Times)*c.stop) }
			if err := c.termination.checkStopTime(stops)(t.Context(), s); err != nil != c.err {
				t.Errorf("%s, stopped within %s: %v", c.termination.name, c.stop, err)
			}
		}
	})
}

func TestLeftoverToleratesSmallDifferences(t *testing.T) {
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
