// Package maintenance holds the services that an operator has closed to visitors for a while.
package maintenance

import (
	"errors"
	"fmt"
	"net/netip"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/theworklabs/edge/internal/ipranges"
)

const (
	// DefaultRetryAfter is the Retry-After of refused requests, unless the operator sets another one.
	DefaultRetryAfter = 5 * time.Minute

	maxRetryAfter    = 30 * 24 * time.Hour
	maxMessageLength = 1000 // characters, so that the page stays small
	maxAllowed       = 100
)

// Window is the maintenance of one service: a period in which it is closed to visitors. It does not change once it is in a [Snapshot].
type Window struct {
	Service    string         `json:"service"`           // its name, such as "bigcapital-server:3000"
	Since      time.Time      `json:"since"`             // when the maintenance began
	Hold       bool           `json:"hold,omitempty"`    // requests wait for the end instead of being refused
	Allow      []netip.Prefix `json:"allow,omitempty"`   // clients whose requests pass
	RetryAfter Duration       `json:"retry_after"`       // the Retry-After of refused requests
	Message    string         `json:"message,omitempty"` // the operator's message to visitors, as plain text

	done chan struct{} // closed when the window is no longer in force
}

// Done returns a channel that is closed when the window has ended, or another one has replaced it.
func (w *Window) Done() <-chan struct{} { return w.done }

// Allows reports whether the requests of a client pass. Those of the zero address, an unknown client, do not.
func (w *Window) Allows(client netip.Addr) bool {
	return ipranges.Set(w.Allow).Contains(client)
}

// Err returns the error of a refused request.
func (w *Window) Err() *Error {
	return &Error{Service: w.Service, Message: w.Message, RetryAfter: time.Duration(w.RetryAfter)}
}

// equal reports whether the edge treats requests the same under both windows.
func (w *Window) equal(other *Window) bool {
	if w.Hold != other.Hold || w.RetryAfter != other.RetryAfter || w.Message != other.Message || len(w.Allow) != len(other.Allow) {
		return false
	}
	for i := range w.Allow {
		if w.Allow[i] != other.Allow[i] {
			return false
		}
	}
	return true
}

// Check returns an error that says what is wrong with a window that an operator, or a storage, has given; nil if it is valid.
func (w *Window) Check() error {
	switch {
	case w.Service == "":
		return errors.New("the maintenance window names no service")
	case w.RetryAfter < Duration(time.Second) || w.RetryAfter > Duration(maxRetryAfter):
		return fmt.Errorf("retry_after %s: want a duration from 1s to 720h", w.RetryAfter)
	case utf8.RuneCountInString(w.Message) > maxMessageLength:
		return fmt.Errorf("message: it has more than %d characters", maxMessageLength)
	case !utf8.ValidString(w.Message):
		return errors.New("message: it is not UTF-8")
	case len(w.Allow) > maxAllowed:
		return fmt.Errorf("allow: %d addresses and ranges, at most %d are allowed", len(w.Allow), maxAllowed)
	}
	for _, r := range w.Message {
		if unicode.IsControl(r) && r != '\n' && r != '\t' {
			return fmt.Errorf("message: it contains the control character %q", r)
		}
	}
	for _, p := range w.Allow {
		if !p.IsValid() {
			return errors.New("allow: an empty range")
		}
	}
	return nil
}

// Error is the error of a request to a service in maintenance that is refused.
type Error struct {
	Service    string
	Message    string        // the operator's message to visitors; may be empty
	RetryAfter time.Duration // when the client should try again
}

// Error names the service.
func (e *Error) Error() string { return e.Service + ": in maintenance" }

// ParseAllowed reads addresses and ranges, such as 192.0.2.7 and 10.0.0.0/8.
func ParseAllowed(texts []string) ([]netip.Prefix, error) {
	var all []netip.Prefix
	for _, text := range texts {
		p, err := ipranges.Parse(text)
		if err != nil {
			return nil, fmt.Errorf("allow %q: want an address or a range, such as 192.0.2.7 or 10.0.0.0/8", text)
		}
		all = append(all, p)
	}
	return all, nil
}

// Duration is a time.Duration that is text in JSON, such as "5m0s".
type Duration time.Duration

// String formats the duration as time.Duration does.
func (d Duration) String() string { return time.Duration(d).String() }

// MarshalText implements encoding.TextMarshaler.
func (d Duration) MarshalText() ([]byte, error) { return []byte(d.String()), nil }

// UnmarshalText implements encoding.TextUnmarshaler.
func (d *Duration) UnmarshalText(text []byte) error {
	parsed, err := time.ParseDuration(string(text))
	if err != nil {
		return fmt.Errorf("%q: want a duration such as 5m", text)
	}
	*d = Duration(parsed)
	return nil
}
