package edge

import (
	"errors"
	"fmt"
	"time"

	"github.com/caddyserver/caddy/v2"

	"github.com/theworklabs/edge/internal/probe"
	"github.com/theworklabs/edge/internal/registry"
)

// ServiceConfig is what a route says of the service that it proxies to. Several routes to one service must not
// contradict each other; what one leaves out, another may say.
type ServiceConfig struct {
	// How its endpoints are checked. Default: a TCP connect.
	Probe *Probe `json:"probe,omitempty"`

	// How long a request waits for a ready endpoint. Default: the app's `hold`.
	Hold caddy.Duration `json:"hold,omitempty"`

	// How many requests may wait. Default: the app's `max_held`.
	MaxHeld int `json:"max_held,omitempty"`

	// How many requests of one client may wait; negative: any number. Default: the app's `max_held_per_client`.
	MaxHeldPerClient int `json:"max_held_per_client,omitempty"`

	// When an endpoint that passes its probe but fails its requests is taken out of rotation for a while.
	Eject *Ejection `json:"eject,omitempty"`

	// The time in which an endpoint that has become ready grows into its full part of the requests; negative: it has it
	// at once. Default: 10s.
	SlowStart caddy.Duration `json:"slow_start,omitempty"`

	// How many of ten seconds' requests may be retries of requests that were sent and not answered, as a part from 0 to
	// 1; negative: any number. Ten always may. Default: 0.2.
	RetryBudget float64 `json:"retry_budget,omitempty"`

	// The time over which the WebSockets of an endpoint that drains are closed. It must be shorter than the container's
	// stop timeout. Default: the app's `close_window`.
	CloseWindow caddy.Duration `json:"close_window,omitempty"`
}

// Ejection is a passive check: answers of 502, 503 and 504, and requests that are cut off, tell of an endpoint what its probe
// does not. The last ready endpoint of a service is never ejected.
type Ejection struct {
	// How many bad answers in a row eject; negative: none ever do. Default: 5.
	After int `json:"after,omitempty"`

	// For how long at first; each time that follows is twice as long. Then the probe decides again. Default: 5s.
	Base caddy.Duration `json:"base,omitempty"`

	// For how long at the most. Default: 5m.
	Max caddy.Duration `json:"max,omitempty"`
}

func (j *Ejection) settings() registry.Ejection {
	if j == nil {
		return registry.Ejection{}
	}
	return registry.Ejection{After: j.After, Base: time.Duration(j.Base), Max: time.Duration(j.Max)}
}

// Probe is an active check.
type Probe struct {
	// The paths to ask, in order; the first that passes is kept. Default: none; a TCP connect is the check.
	URIs []string `json:"uris,omitempty"`

	// The Host header. Default: the service's name.
	Host string `json:"host,omitempty"`

	// The status that passes: a code, or a class such as `2xx`, which is the default.
	Status string `json:"status,omitempty"`

	// A regular expression that the first 64 KiB of the body must match.
	Body string `json:"body,omitempty"`

	// Whether a TCP connect is enough where none of the paths exists (404, 405 or 501).
	TCPFallback bool `json:"tcp_fallback,omitempty"`

	// The time between checks of a ready endpoint. Default: 10s.
	Interval caddy.Duration `json:"interval,omitempty"`

	// The time that one check may take. Default: 5s.
	Timeout caddy.Duration `json:"timeout,omitempty"`

	// How many passes in a row make an endpoint ready. Default: 1.
	Rise int `json:"rise,omitempty"`

	// How many failures in a row make a ready endpoint failing. Default: 3.
	Fall int `json:"fall,omitempty"`

	// The part of the interval, 0 to 1, by which each check is moved at random; negative: none. Default: 0.1.
	Jitter float64 `json:"jitter,omitempty"`
}

func (p *Probe) config() probe.Config {
	if p == nil {
		return probe.Config{}
	}
	return probe.Config{
		URIs: p.URIs, Host: p.Host, Status: p.Status, Body: p.Body, TCP: p.TCPFallback,
		Interval: time.Duration(p.Interval), Timeout: time.Duration(p.Timeout),
		Rise: p.Rise, Fall: p.Fall, Jitter: p.Jitter,
	}
}

// Check returns what is wrong with the probe, or nil.
func (p *Probe) Check() error { return p.config().Validate() }

// settings returns what the registry needs to know, but for the app's defaults.
func (c ServiceConfig) settings(p registry.Prober) registry.Settings {
	return registry.Settings{
		Hold: time.Duration(c.Hold), MaxHeld: c.MaxHeld, MaxHeldPerClient: c.MaxHeldPerClient, Probe: p, Eject: c.Eject.settings(),
		SlowStart: time.Duration(c.SlowStart), RetryBudget: c.RetryBudget, CloseWindow: time.Duration(c.CloseWindow),
	}
}

func (c ServiceConfig) check() error {
	switch {
	case c.Hold < 0:
		return errors.New("hold can't be negative")
	case c.MaxHeld < 0:
		return errors.New("max_held can't be negative")
	case c.CloseWindow < 0:
		return errors.New("close_window can't be negative")
	case c.RetryBudget > 1:
		return fmt.Errorf("retry_budget %v: want a part of the requests, from 0 to 1", c.RetryBudget)
	case c.Eject != nil && (c.Eject.Base < 0 || c.Eject.Max < 0):
		return errors.New("eject: a time can't be negative")
	case c.Eject != nil && c.Eject.Max != 0 && c.Eject.Max < c.Eject.Base:
		return errors.New("eject: max must not be shorter than base")
	}
	return c.Probe.Check()
}
