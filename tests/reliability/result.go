package main

import (
	"fmt"
	"net/http"
	"slices"
	"time"

	"github.com/theworklabs/edge/tests/reliability/load"
	"github.com/theworklabs/edge/tests/reliability/sockets"
)

// slowThreshold is what counts as not being well, for the time to recover.
const slowThreshold = time.Second

// Result is what one scenario was like by way of one proxy. Times are in milliseconds.
type Result struct {
	Scenario       string                `json:"scenario"`
	Proxy          string                `json:"proxy"`
	Methods        map[string]load.Tally `json:"methods"`
	Latency        Timing                `json:"latency"`
	GET            Timing                `json:"latency_get"` // of GET alone
	Control        Timing                `json:"control"`     // of the service that was left alone, in the same seconds
	ControlMethods map[string]load.Tally `json:"control_methods"`
	Ratio          float64               `json:"p99_ratio"`             // of both, at p99
	Downtime       float64               `json:"downtime_ms,omitempty"` // the longest; of scenarios that recreate api
	Sockets        sockets.Tally         `json:"sockets"`               // of the service
	ControlSockets sockets.Tally         `json:"control_sockets"`
	Recovery       float64               `json:"recovery_ms"`     // from the first request that was lost or took over 1 s until the end of the last
	Twice          int                   `json:"twice"`           // POSTs that reached a backend more than once
	UnknownArrived int                   `json:"unknown_arrived"` // of those with an unknown outcome, how many had reached a backend
	Reasons        []string              `json:"reasons,omitempty"`
	Notes          []string              `json:"notes,omitempty"`
	Violations     []string              `json:"broken,omitempty"` // what the edge promises and this does not keep
}

// Timing is percentiles in milliseconds.
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

// lossReasons returns why requests were lost, the most frequent first, five at the most.
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

// Idempotent returns the tally of all methods that may be sent twice.
func (r Result) Idempotent() load.Tally { return idempotent(r.Methods) }

func idempotent(methods map[string]load.Tally) (sum load.Tally) {
	for method, t := range methods {
		if load.Idempotent(method) {
			sum.Add(t)
		}
	}
	return sum
}

// Post returns the tally of the method that may not be sent twice.
func (r Result) Post() load.Tally { return r.Methods[http.MethodPost] }

// lossBound returns what n requests without a loss prove: at 95 %, the part that is lost is below 3/n (the rule of three).
func lossBound(n int) float64 { return 3 / float64(max(n, 1)) }
