// Package preflight looks, before a stack goes live, for what would keep it from working: the configuration, the compose file, the
// machine and what runs on it. It changes nothing.
package preflight

import "fmt"

// Level says how bad a finding is.
type Level string

// The levels. Only an error keeps a stack from going live. A note is worth knowing, and needs no change.
const (
	OK      Level = "ok"
	Note    Level = "note"
	Warning Level = "warning"
	Error   Level = "error"
)

// Finding is what a check found out about one thing.
type Finding struct {
	Check   string `json:"check"` // the kind: configuration, route, domain, …
	Level   Level  `json:"level"`
	Message string `json:"message"`        // what is the case, and about what
	Hint    string `json:"hint,omitempty"` // what to do; "" if it is ok

	cause error // why it could not be found out, or was not possible
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

// inconclusiveFinding returns a finding that something could not be asked or done, and why.
func inconclusiveFinding(check, hint string, cause error, format string, args ...any) Finding {
	f := errorFinding(check, hint, format+": %v", append(args, cause)...)
	f.cause = cause
	return f
}

// IsInconclusive reports whether it is an error of the attempt rather than of what was looked at.
func (f Finding) IsInconclusive() bool { return f.cause != nil }

// Err returns nil unless the finding is an error; its hint is part of the text, and its cause is wrapped.
func (f Finding) Err() error {
	if f.Level != Error {
		return nil
	}
	return findingError{f}
}

type findingError struct{ Finding }

func (p findingError) Error() string { return p.Check + ": " + p.Message + "; hint: " + p.Hint }

func (p findingError) Unwrap() error { return p.cause }
