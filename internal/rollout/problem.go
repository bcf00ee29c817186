package rollout

import "errors"

// Problem is an error with the one thing that a person can do about it.
type Problem struct {
	Err  error
	Hint string
}

// Error returns what went wrong, without the hint.
func (p *Problem) Error() string { return p.Err.Error() }

// Unwrap returns what went wrong.
func (p *Problem) Unwrap() error { return p.Err }

var errInterrupted = errors.New("interrupted")
