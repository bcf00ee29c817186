package registry

import (
	"errors"
	"strconv"
	"strings"
)

// Why [Service.Acquire] and [Service.Pause] fail, as the Err of an [Error]. When the context of a request ends, they return
// the error of the context instead.
var (
	ErrUnknown = errors.New("no container answers to this name")
	ErrDown    = errors.New("no ready endpoint")
	ErrFull    = errors.New("too many requests wait already")
	// ErrClientFull concerns only the client that has filled its part of the queue; there is room for others.
	ErrClientFull = errors.New("too many requests of this client wait already")
	ErrClosed     = errors.New("the service is closed")
	// ErrPauseTimeout is returned by [Service.Pause] only.
	ErrPauseTimeout = errors.New("paused for longer than the hold time")
)

// Error says which service could not take a request, and why.
type Error struct {
	Service string
	Err     error // ErrUnknown, ErrDown, ErrFull, ErrClientFull, ErrClosed or ErrPauseTimeout
	Detail  string
}

// Error names the service, the reason and its detail.
func (e *Error) Error() string {
	text := e.Service + ": " + e.Err.Error()
	if e.Detail != "" {
		text += ": " + e.Detail
	}
	return text
}

// Unwrap returns Err, for [errors.Is].
func (e *Error) Unwrap() error { return e.Err }

// newError adds the service's name to a reason and its detail.
func (s *Service) newError(err error, detail string) error {
	return &Error{Service: s.name, Err: err, Detail: detail}
}

// Explain returns the text of an [ErrUnknown] with the names that are known, so that the user sees a typing error. It is too
// slow for the request path.
func (r *Registry) Explain(err error) string {
	known := r.knownNames()
	const maxNames = 12
	if len(known) > maxNames {
		known = append(known[:maxNames], "…")
	}
	if len(known) == 0 {
		return err.Error() + " (no container is known at all)"
	}
	return err.Error() + " (known: " + strings.Join(known, ", ") + ")"
}

func plural(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return strconv.Itoa(n) + " " + noun + "s"
}
