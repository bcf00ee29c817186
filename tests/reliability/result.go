package main

import (
	"fmt"
	"net/http"
	"slices"
	"time"

	"github.com/theworklabs/edge/tests/reliability/load"
	"github.com/theworklabs/edge/tests/reliability/sockets"
)

// slowThreshold is the latency above which a service has not recovered.
const slowThreshold = time.Second

// Result has what was measured in one scenario through one proxy. Times are in milliseconds.
type Result struct {
	Scenario       string                `json:"scenario"`
	Proxy          string                `json:"proxy"`
	Methods        map[string]load.Tally `json:"methods"`
	Latency        Timing                `json:"latency"`
	GET            Timing                `json:"latency_get"` // of GET
	Control        Timing                `json:"control"`     // of the control service
	ControlMethods map[string]load.Tally `json:"control_methods"`
	Ratio          float64               `json:"p99_ratio"`             // p99 divided by that of the control
	Downtime       float64               `json:"downtime_ms,omitempty"` // the longest, in scenarios that recreate api
	Sockets        sockets.Tally         `json:"sockets"`               // to api
	ControlSockets sockets.Tally         `json:"control_sockets"`
	Recovery       float64               `json:"recovery_ms"`     // from the first request that was lost or took over 1 s until the end of the last one
	Twice          int                   `json:"twice"`           // POSTs that reached a backend more than once
	UnknownArrived int                   `json:"unknown_arrived"` // requests with an unknown outcome that reached a backend
	Reasons        []string              `json:"reasons,omitempty"`
	Notes          []string              `json:"notes,omitempty"`
	Violations     []string              `json:"broken,omitempty"` // promises that the edge has not kept
}

// Timing has percentiles in milliseconds.
type Timing struct {
	P50 float64 `json:"p50_ms"`
	P99 float64 `json:"p99_ms"`
	Max float64 `json:"max_ms"`
}

func newResult(scenario, proxy string, service, control *load.Record) Result {
	r := Result{
		Scenario: scenario, Proxy: proxy, Methods: service.Tallies(),
		Latency: timing(service.Latency()), GET: timing(service.Latency(http.MethodGet)), Control: timing(control.Latency()), ControlMethods: control.Tallies(),
		Recovery: milliseconds(service.Recovery(slowThreshold)), Reasons: lossReasons(service),
	}
	if r.Control.P99 > 0 {
		r.Ratio = r.Latency.P99 / r.Control.P99
	}
	return r
}

func timing(l load.Latency) Timing {
	return Timing{milliseconds(l.P50), milliseconds(l.P99), milliseconds(l.Max)}
}

func milliseconds(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }

// lossReasons returns at most five reasons why requests were lost, the most frequent first.
func lossReasons(r *load.Record) []string {
	count := make(map[string]int)
	for _, s := range r.Lost() {
		count[fmt.Sprintf("%s %s: %s", s.Method, s.Outcome, s.Detail)]++
	}
	all := make([]string, 0, len(count))
	for reason := range count {
		all = append(all, reason)
	}
	slices.SortFunc(all, func(a, b string) int {
		if count[a] != count[b] {
			return count[b] - count[a]
		}
		return len(a) - len(b)
	})
	for i, reason := range all {
		all[i] = fmt.Sprintf("%d × %s", count[reason], reason)
	}
	return all[:min(len(all), 5)]
}

// Idempotent returns the tally of all idempotent methods.
func (r Result) Idempotent() load.Tally { return idempotent(r.Methods) }

func idempotent(methods map[string]load.Tally) (sum load.Tally) {
	for method, t := range methods {
		if load.Idempotent(method) {
			sum.Add(t)
		}
	}
	return sum
}

// Post returns the tally of POST, the only method that is not idempotent.
func (r Result) Post() load.Tally { return r.Methods[http.MethodPost] }

// lossBound returns the upper bound, with a confidence of 95 %, of the proportion of lost requests if none of n is lost (the rule of
// three).
func lossBound(n int) float64 { return 3 / float64(max(n, 1)) }
