package maintenance

import (
	"errors"
	"fmt"
	"net/netip"
	"time"
	"unicode"
	"unicode/utf8"
)

const (
	// DefaultRetryAfter is when clients are told to come again, if the operator doesn't say.
	DefaultRetryAfter = 5 * time.Minute

	maxRetryAfter    = 30 * 24 * time.Hour
	maxMessageLength = 1000 // characters: a page stays small
	maxAllowed       = 100
)

// Window is one service in maintenance. It is not changed once it is in a [Snapshot].
type Window struct {
	Service    string         `json:"service"`           // "bigcapital-server:3000"
	Since      time.Time      `json:"since"`             // when it was closed
	Hold       bool           `json:"hold,omitempty"`    // requests wait instead of being refused
	Allow      []netip.Prefix `json:"allow,omitempty"`   // clients that are not concerned
	RetryAfter Duration       `json:"retry_after"`       // what those who are refused are told
	Message    string         `json:"message,omitempty"` // the operator's words, as plain text

	done chan struct{} // closed when this closure holds no more
}

// Done returns a channel that is closed when the closure has been taken back, or has given way to another one.
func (c *Window) Done() <-chan struct{} { return c.done }

// Allows reports whether a client's requests pass nevertheless. The zero address is nobody's.
func (c *Window) Allows(client netip.Addr) bool {
	client = client.Unmap().WithZone("")
	for _, p := range c.Allow {
		if p.Contains(client) {
			return true
		}
	}
	return false
}

// Err returns the error of a request that does not pass.
func (c *Window) Err() *Error {
	return &Error{Service: c.Service, Message: c.Message, RetryAfter: time.Duration(c.RetryAfter)}
}

// equal reports whether requests fare the same under other.
func (c *Window) equal(other *Window) bool {
	if c.Hold != other.Hold || c.RetryAfter != other.RetryAfter || c.Message != other.Message || len(c.Allow) != len(other.Allow) {
		return false
	}
	for i := range c.Allow {
		if c.Allow[i] != other.Allow[i] {
			return false
		}
	}
	return true
}

// Check returns what is wrong with a closure that somebody has written.
func (c *Window) Check() error {
	switch {
	case c.Service == "":
		return errors.New("a closure without a service")
	case c.RetryAfter < Duration(time.Second) || c.RetryAfter > Duration(maxRetryAfter):
		return fmt.Errorf("retry_after %s: want something from 1s to 720h", c.RetryAfter)
	case utf8.RuneCountInString(c.Message) > maxMessageLength:
		return fmt.Errorf("message: it has more than %d characters", maxMessageLength)
	case !utf8.ValidString(c.Message):
		return errors.New("message: it is not UTF-8")
	case len(c.Allow) > maxAllowed:
		return fmt.Errorf("allow: %d addresses and ranges, at most %d are kept", len(c.Allow), maxAllowed)
	}
	for _, r := range c.Message {
		if unicode.IsControl(r) && r != '\n' && r != '\t' {
			return fmt.Errorf("message: %q is no character to show", r)
		}
	}
	for _, p := range c.Allow {
		if !p.IsValid() {
			return errors.New("allow: an empty range")
		}
	}
	return nil
}

// ParseAllowed reads addresses and ranges, such as 192.0.2.7 and 10.0.0.0/8.
func ParseAllowed(texts []string) ([]netip.Prefix, error) {
	var all []netip.Prefix
	for _, text := range texts {
		if addr, err := netip.ParseAddr(text); err == nil && addr.Zone() == "" {
			addr = addr.Unmap()
			all = append(all, netip.PrefixFrom(addr, addr.BitLen()))
			continue
		}
		p, err := netip.ParsePrefix(text)
		if err != nil {
			return nil, fmt.Errorf("allow %q: want an address or a range, such as 192.0.2.7 or 10.0.0.0/8", text)
		}
		if p.Addr().Is4In6() && p.Bits() >= 96 {
			p = netip.PrefixFrom(p.Addr().Unmap(), p.Bits()-96)
		}
		all = append(all, p.Masked())
	}
	return all, nil
}

// Duration is a time that JSON has as text: "5m0s".
type Duration time.Duration

// String returns it as Go writes it.
func (s Duration) String() string { return time.Duration(s).String() }

// MarshalText implements encoding.TextMarshaler.
func (s Duration) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// UnmarshalText implements encoding.TextUnmarshaler.
func (s *Duration) UnmarshalText(text []byte) error {
	d, err := time.ParseDuration(string(text))
	if err != nil {
		return fmt.Errorf("%q: want a time such as 5m", text)
	}
	*s = Duration(d)
	return nil
}
