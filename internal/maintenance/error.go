// Package maintenance knows which services an operator has taken out of service for a while, and for whom not.
package maintenance

import "time"

// Error is why a request to a service in maintenance is refused.
type Error struct {
	Service    string
	Message    string        // the operator's words for those who come; may be empty
	RetryAfter time.Duration // when it may be worth to come again
}

// Error names the service.
func (c *Error) Error() string { return c.Service + ": in maintenance" }
