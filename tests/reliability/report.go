package main

import (
	"runtime"
	"time"
)

// Report is what a run of the suite found.
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
	Failures  []string      `json:"failures,omitempty"` // scenarios that could not be run
}

// Summary is a scenario, for who reads the report.
type Summary struct {
	Name         string `json:"name"`
	What         string `json:"what"`
	EdgeOnly     bool   `json:"edge_only"`
	LossExpected bool   `json:"apart"` // that requests are not answered is what is tried
}

// machine describes what the suite ran on.
func machine() string {
	return runtime.GOOS + "/" + runtime.GOARCH + ", " + plural(runtime.NumCPU(), "processor")
}

// Violations returns what the edge promised and did not keep, over all scenarios, and the scenarios that could not be run.
func (r Report) Violations() (all []string) {
	for _, result := range r.Results {
		for _, b := range result.Violations {
			all = append(all, result.Scenario+": "+b)
		}
	}
	for _, c := range r.Idle {
		// Of few sockets, what the program itself allocates meanwhile counts too much.
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
