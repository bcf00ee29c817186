// Package probe checks actively, by TCP and HTTP, whether endpoints can take requests.
//
// It checks a starting endpoint by TCP every 50 ms, and then by HTTP with a backoff from 0.1 to 1 s, so that the endpoint takes
// requests as soon as it can. It checks a ready endpoint at the configured interval. The edge does not wait for Docker's own
// health check, whose first result can take 30 s.
package probe

import (
	"errors"
	"fmt"
	"math"
	"regexp"
	"strings"
	"time"
)

// The defaults of [Config].
const (
	DefaultInterval = 10 * time.Second
	DefaultTimeout  = 5 * time.Second
	DefaultRise     = 1
	DefaultFall     = 3
	DefaultJitter   = 0.1
)

// Config configures the checks of a service's endpoints. The zero value checks by TCP only.
type Config struct {
	// URIs are requested with GET, in order, until one passes. The checks of this endpoint that follow use that one. None: TCP
	// only.
	URIs []string
	// Host is the Host header; "": the service's name.
	Host string
	// Status is the status that passes: "200", or a class such as "2xx" (the default).
	Status string
	// Body is a regular expression that the first 64 KiB of the body must match; "": any body passes.
	Body string
	// TCP lets an endpoint pass that accepts connections but has none of the URIs (it answers 404, 405 or 501), such as an older
	// version of an application.
	TCP bool

	Interval time.Duration // between the checks of a ready endpoint; 0: DefaultInterval
	Timeout  time.Duration // of one check; 0: DefaultTimeout
	Rise     int           // passed checks in a row that make an endpoint ready; 0: DefaultRise
	Fall     int           // failed checks in a row that make a ready endpoint failing; 0: DefaultFall
	Jitter   float64       // part of the interval by which each check is moved at random, up to 1; 0: DefaultJitter; negative: none
}

// Validate returns an error for the author of the configuration, or nil.
func (c Config) Validate() error {
	for _, uri := range c.URIs {
		if !strings.HasPrefix(uri, "/") {
			return fmt.Errorf("probe uri %q: want a path that begins with /", uri)
		}
	}
	if c.Status != "" && !statusPattern.MatchString(c.Status) {
		return fmt.Errorf("probe status %q: want a code such as 200, or a class such as 2xx", c.Status)
	}
	if _, err := regexp.Compile(c.Body); err != nil {
		return fmt.Errorf("probe body: %w", err)
	}
	switch {
	case c.Interval < 0 || c.Timeout < 0:
		return errors.New("probe: interval and timeout can't be negative")
	case c.Rise < 0 || c.Fall < 0:
		return errors.New("probe: rise and fall can't be negative")
	case c.Jitter > 1 || math.IsNaN(c.Jitter):
		return errors.New("probe: jitter is a part of the interval: want 0 to 1")
	case len(c.URIs) == 0 && (c.Body != "" || c.Status != ""):
		return errors.New("probe: status and body need a uri")
	}
	return nil
}

var statusPattern = regexp.MustCompile(`^[1-5](\d\d|xx)$`)
