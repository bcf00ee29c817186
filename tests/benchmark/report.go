package main

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"slices"
	"time"
)

// Report has the results of a run.
type Report struct {
	Date     time.Time     `json:"date"`
	Took     time.Duration `json:"took_ns"`
	Machine  string        `json:"machine"`
	Versions []string      `json:"versions"`
	Effort   effort        `json:"effort"`
	Proxies  []string      `json:"proxies"`
	Cases    []Summary     `json:"cases"`
	Results  []Result      `json:"results"`
	Failures []string      `json:"failures,omitempty"` // measurements that failed
}

// Summary names a case.
type Summary struct {
	Group string `json:"group"`
	Name  string `json:"name"`
}

// Result is what all rounds have measured of one quantity of a case with one proxy.
type Result struct {
	Summary
	Proxy    string    `json:"proxy"`
	Quantity string    `json:"quantity"`
	Rounds   []float64 `json:"rounds"`
}

// Median is the median of the rounds.
func (r Result) Median() float64 {
	sorted := slices.Sorted(slices.Values(r.Rounds))
	if n := len(sorted); n%2 == 0 {
		return (sorted[n/2-1] + sorted[n/2]) / 2
	}
	return sorted[len(sorted)/2]
}

// quantities are all of them, in the order of the tables.
var quantities = []string{processor, throughput, p50, p99, memory}

// add adds what a round has measured.
func (r *Report) add(c benchCase, proxy string, got values) {
	for _, quantity := range quantities {
		value, found := got[quantity]
		if !found {
			continue
		}
		if old := r.find(c.group, c.name, proxy, quantity); old != nil {
			old.Rounds = append(old.Rounds, value)
			continue
		}
		r.Results = append(r.Results, Result{Summary{c.group, c.name}, proxy, quantity, []float64{value}})
	}
}

// find returns a result; nil if there is none.
func (r *Report) find(group, name, proxy, quantity string) *Result {
	for i := range r.Results {
		if x := &r.Results[i]; x.Group == group && x.Name == name && x.Proxy == proxy && x.Quantity == quantity {
			return x
		}
	}
	return nil
}

// names returns the names of the cases of a group.
func (r *Report) names(group string) (all []string) {
	for _, c := range r.Cases {
		if c.Group == group {
			all = append(all, c.Name)
		}
	}
	return all
}

// writeJSON writes the report as JSON.
func writeJSON(w io.Writer, r *Report) error {
	e := json.NewEncoder(w)
	e.SetIndent("", "\t")
	e.SetEscapeHTML(false)
	return e.Encode(r)
}

// readReport reads what writeJSON has written.
func readReport(file string) (*Report, error) {
	content, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	r := new(Report)
	if err := json.Unmarshal(content, r); err != nil {
		return nil, fmt.Errorf("read %s: %w", file, err)
	}
	return r, nil
}
