// Package hint has errors that tell the next step.
package hint

import "errors"

// Error is an error with the one step that a person can take next.
type Error struct {
	Err  error
	Next string // printed after "edge: hint: "
}

// New returns err with the next step.
func New(err error, next string) error { return &Error{err, next} }

// Error returns the error's text without the hint.
func (e *Error) Error() string { return e.Err.Error() }

// Unwrap returns the error.
func (e *Error) Unwrap() error { return e.Err }

// Hint returns the next step.
func (e *Error) Hint() string { return e.Next }

// Of returns the next step of an error that has one: any in its chain with a method Hint. It returns "" if there is none.
func Of(err error) string {
	var h interface {
		error
		Hint() string
	}
	if errors.As(err, &h) {
		return h.Hint()
	}
	return ""
}
