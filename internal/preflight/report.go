package preflight

import (
	"fmt"
	"io"
)

// Report is what `edge check --json` prints.
type Report struct {
	Findings []Finding `json:"findings"`
	Errors   int       `json:"errors"`
	Warnings int       `json:"warnings"`
}

// NewReport counts findings.
func NewReport(all []Finding) Report {
	r := Report{Findings: all}
	for _, f := range all {
		switch f.Level {
		case Error:
			r.Errors++
		case Warning:
			r.Warnings++
		}
	}
	return r
}

// Print writes a line for each finding, and below it what to do if it isn't ok.
func (r Report) Print(w io.Writer) error {
	for _, f := range r.Findings {
		if _, err := fmt.Fprintf(w, "%-8s %-14s %s\n", f.Level, f.Check, f.Message); err != nil {
			return err
		}
		if f.Hint != "" {
			if _, err := fmt.Fprintf(w, "%-8s %-14s hint: %s\n", "", "", f.Hint); err != nil {
				return err
			}
		}
	}
	return nil
}
