// Package probe checks endpoints actively: does something listen, and does it say that it works?
//
// An endpoint that starts is tried by TCP every 50 ms, and then by HTTP with a back-off from 0.1 to 1 s, so that it
// takes requests as soon as it can; once ready it is checked at the configured interval. Docker's own health check
// is not waited for: its first answer can take 30 s.
package probe

import (
	"errors"
	"fmt"
	"math"
	"regexp"
	"slices"
	"strings"
	"time"

	"go.uber.org/zap"

	"github.com/theworklabs/edge/internal/registry"
	"github.com/theworklabs/edge/internal/resource"
)

// The defaults of [Config].
const (
	DefaultInterval = 10 * time.Second
	DefaultTimeout  = 5 * time.Second
	DefaultRise     = 1
	DefaultFall     = 3
	DefaultJitter   = 0.1
)

// Config says how the endpoints of a service are checked. Its zero value, and nil, check by TCP.
type Config struct {
	// URIs are asked with GET, in order, until one passes; that one is kept for the endpoint's life. None: TCP only.
	URIs []string
	// Host is the Host header; "": the service's name.
	Host string
	// Status is what passes: "200", or a class such as "2xx" (the default).
	Status string
	// Body is a regular expression that the first 64 KiB of the body must match; "": any body passes.
	Body string
	// TCP lets an endpoint pass that accepts connections but answers every URI with "there is no such thing"
	// (404, 405 or 501): an application of a version that has none of them.
	TCP bool

	Interval time.Duration // between checks of a ready endpoint; 0: DefaultInterval
	Timeout  time.Duration // of one check; 0: DefaultTimeout
	Rise     int           // passes in a row that make an endpoint ready; 0: DefaultRise
	Fall     int           // fails in a row that make a ready one failing; 0: DefaultFall
	Jitter   float64       // part of the interval by which each check is moved at random, 0 to 1; negative: none; 0: DefaultJitter
}

// Validate returns what is wrong with the configuration, in words for whoever wrote it.
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
		return errors.New("probe: jitter is a part of the interval: 0 to 1")
	case len(c.URIs) == 0 && (c.Body != "" || c.Status != ""):
		return errors.New("probe: status and body need a uri")
	}
	return nil
}

var statusPattern = regexp.MustCompile(`^[1-5](\d\d|xx)$`)

// Prober runs a [Config] on endpoints. It is a [registry.Prober].
type Prober struct {
	config Config
	body   *regexp.Regexp
	log    *zap.Logger

	onExhausted func(resource.Kind, error)
}

// New returns a prober of a configuration that [Config.Validate] accepts. log may be nil, and so may exhausted, which is called when
// a check fails because the edge has run out of something of its own.
func New(c Config, log *zap.Logger, exhausted func(resource.Kind, error)) (*Prober, error) {
	if err := c.Validate(); err != nil {
		return nil, err
	}
	c.Status = orDefault(c.Status, "2xx")
	c.Interval = orDefault(c.Interval, DefaultInterval)
	c.Timeout = orDefault(c.Timeout, DefaultTimeout)
	c.Rise = orDefault(c.Rise, DefaultRise)
	c.Fall = orDefault(c.Fall, DefaultFall)
	c.Jitter = max(orDefault(c.Jitter, DefaultJitter), 0)
	if log == nil {
		log = zap.NewNop()
	}
	if exhausted == nil {
		exhausted = func(resource.Kind, error) {}
	}
	return &Prober{config: c, body: regexp.MustCompile(c.Body), log: log, onExhausted: exhausted}, nil
}

// Same reports whether other checks in the same way, so that a reload need not begin anew.
func (p *Prober) Same(other registry.Prober) bool {
	o, ok := other.(*Prober)
	if !ok {
		return false
	}
	a, b := p.config, o.config
	same := slices.Equal(a.URIs, b.URIs)
	a.URIs, b.URIs = nil, nil
	return same && fmt.Sprint(a) == fmt.Sprint(b)
}

func orDefault[T comparable](value, fallback T) T {
	var zero T
	if value == zero {
		return fallback
	}
	return value
}

var _ registry.Prober = (*Prober)(nil)
