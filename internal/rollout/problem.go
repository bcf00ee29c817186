package rollout

import "errors"

// HintError is an error with the one thing that a person can do about it.
type HintError struct {
	Err  error
	Hint string
}

// Error returns what went wrong, without the hint.
func (p *HintError) Error() string { return p.Err.Error() }

// Unwrap returns what went wrong.
func (p *HintError) Unwrap() error { return p.Err }

var errInterrupted = errors.New("interrupted")
