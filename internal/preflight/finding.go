package preflight

import (
	"fmt"
	"io"
)

// Level is the severity of a finding.
type Level string

// The levels. An error keeps a stack from working. A note needs no change.
const (
	OK      Level = "ok"
	Note    Level = "note"
	Warning Level = "warning"
	Error   Level = "error"
)

// Finding is the result of a check for one subject.
type Finding struct {
	Check   string `json:"check"` // the kind of check: configuration, route, domain, …
	Level   Level  `json:"level"`
	Message string `json:"message"`        // the state of the subject
	Hint    string `json:"hint,omitempty"` // what to do about it; "" with OK

	cause error // why the check could not be done; nil if it was
}

func okFinding(check, format string, args ...any) Finding {
	return Finding{Check: check, Level: OK, Message: fmt.Sprintf(format, args...)}
}

func noteFinding(check, hint, format string, args ...any) Finding {
	return Finding{Check: check, Level: Note, Message: fmt.Sprintf(format, args...), Hint: hint}
}

func warningFinding(check, hint, format string, args ...any) Finding {
	return Finding{Check: check, Level: Warning, Message: fmt.Sprintf(format, args...), Hint: hint}
}

func errorFinding(check, hint, format string, args ...any) Finding {
	return Finding{Check: check, Level: Error, Message: fmt.Sprintf(format, args...), Hint: hint}
}

// inconclusiveFinding returns an error finding about a check that could not be done because of cause.
func inconclusiveFinding(check, hint string, cause error, format string, args ...any) Finding {
	f := errorFinding(check, hint, format+": %v", append(args, cause)...)
	f.cause = cause
	return f
}

// IsInconclusive reports whether the check itself could not be done, so that the state of the subject is unknown.
func (f Finding) IsInconclusive() bool { return f.cause != nil }

// Err returns an error if the level is [Error], and nil otherwise. The error's text has the hint, and the error wraps the cause.
func (f Finding) Err() error {
	if f.Level != Error {
		return nil
	}
	return findingError{f}
}

// findingError is a [Finding] as an error.
type findingError struct{ Finding }

// Error has the check, the message and the hint.
func (e findingError) Error() string { return e.Check + ": " + e.Message + "; hint: " + e.Hint }

// Unwrap returns the error that the finding was made from, or nil.
func (e findingError) Unwrap() error { return e.cause }

// Report is the output of `edge check --json`.
type Report struct {
	Findings []Finding `json:"findings"`
	Errors   int       `json:"errors"`
	Warnings int       `json:"warnings"`
}

// NewReport returns a report with the numbers of errors and warnings.
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

// Print writes a line for each finding, and a second one with its hint if it has one.
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
