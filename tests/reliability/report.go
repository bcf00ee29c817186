package main

import (
	"encoding/json"
	"fmt"
	"io"
	"runtime"
	"strings"
	"time"
)

// Report has the results of a run of the suite.
type Report struct {
	Date      time.Time     `json:"date"`
	Took      time.Duration `json:"took_ns"`
	Machine   string        `json:"machine"`
	Versions  []string      `json:"versions"`
	Effort    effort        `json:"effort"`
	Proxies   []string      `json:"proxies"`
	Scenarios []Summary     `json:"scenarios"`
	Results   []Result      `json:"results"`
	Idle      []IdleCost    `json:"idle_sockets,omitempty"`
	Leftovers []Leftover    `json:"leftovers,omitempty"`
	Failures  []string      `json:"failures,omitempty"` // scenarios that could not run
}

// Summary describes a scenario for readers of the report.
type Summary struct {
	Name         string `json:"name"`
	What         string `json:"what"`
	EdgeOnly     bool   `json:"edge_only"`
	LossExpected bool   `json:"apart"` // the scenario is meant to lose requests
}

// machine describes the machine of the run.
func machine() string {
	return runtime.GOOS + "/" + runtime.GOARCH + ", " + plural(runtime.NumCPU(), "processor")
}

// Violations returns the promises that the edge has broken in all scenarios, and the scenarios that could not run.
func (r Report) Violations() (all []string) {
	for _, result := range r.Results {
		for _, b := range result.Violations {
			all = append(all, result.Scenario+": "+b)
		}
	}
	for _, c := range r.Idle {
		// With few sockets, what the program allocates for other purposes weighs too much.
		if c.Proxy == "edge" && c.Sockets >= fullEffort.Idle {
			all = append(all, c.violations()...)
		}
	}
	for _, l := range r.Leftovers {
		if l.Proxy == "edge" && !l.Clean() {
			all = append(all, l.String())
		}
	}
	return append(all, r.Failures...)
}

// writeJSON writes the report as JSON.
func writeJSON(w io.Writer, r *Report) error {
	e := json.NewEncoder(w)
	e.SetIndent("", "\t")
	e.SetEscapeHTML(false)
	return e.Encode(r)
}

// resultLine returns a result as a line for the terminal, followed by its reasons, notes and violations.
func resultLine(r Result) string {
	idempotent, post := r.Idempotent(), r.Post()
	text := fmt.Sprintf("%-30s %-8s idempotent %d lost of %d, POST %d of %d, p99 %.0f ms (control %.0f), max %.0f ms, recovered in %.0f ms",
		r.Scenario, r.Proxy, idempotent.Lost(), idempotent.N, post.Lost(), post.N, r.Latency.P99, r.Control.P99, r.Latency.Max, r.Recovery)
	for _, more := range [][]string{r.Reasons, r.Notes, r.Violations} {
		if len(more) > 0 {
			text += "\n    " + strings.Join(more, "\n    ")
		}
	}
	return text
}
