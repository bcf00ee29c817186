// Package service is the configuration of a service, in JSON and in the Caddyfile, as routes and presets set it.
package service

import (
	"errors"
	"fmt"
	"time"

	"github.com/caddyserver/caddy/v2"

	"github.com/theworklabs/edge/internal/probe"
	"github.com/theworklabs/edge/internal/registry"
)

// Config is what a route configures for the service that it proxies to. Several routes to one service must not contradict each
// other; [Config.Merge] combines what they set. Zero values are the defaults.
//
// Modules embed it, so that its fields are theirs in JSON. Caddy then calls [Config.Validate] for them, too.
type Config struct {
	// How the edge checks the service's endpoints. Default: a TCP connect.
	Probe *Probe `json:"probe,omitempty"`

	// How long a request waits for a ready endpoint. Default: the app's `hold`.
	Hold caddy.Duration `json:"hold,omitempty"`

	// How many requests may wait. Default: the app's `max_held`.
	MaxHeld int `json:"max_held,omitempty"`

	// How many requests of one client may wait; negative: no limit. Default: the app's `max_held_per_client`.
	MaxHeldPerClient int `json:"max_held_per_client,omitempty"`

	// When the edge ejects an endpoint that passes its probe but fails requests.
	Eject *Ejection `json:"eject,omitempty"`

	// The time in which an endpoint that has become ready grows to its full share of the requests; negative: it gets the full
	// share at once. Default: 10s.
	SlowStart caddy.Duration `json:"slow_start,omitempty"`

	// The share of the requests in ten seconds that may be retries of requests that were sent and not answered, from 0 to 1;
	// negative: no limit. Ten retries are always allowed. Default: 0.2.
	RetryBudget float64 `json:"retry_budget,omitempty"`

	// The time over which the edge closes the WebSockets of an endpoint that drains. It must be shorter than the container's
	// stop timeout. Default: the app's `close_window`.
	CloseWindow caddy.Duration `json:"close_window,omitempty"`
}

// Validate returns an error if a value is out of its range.
func (c Config) Validate() error {
	switch {
	case c.Hold < 0:
		return errors.New("hold can't be negative")
	case c.MaxHeld < 0:
		return errors.New("max_held can't be negative")
	case c.CloseWindow < 0:
		return errors.New("close_window can't be negative")
	case c.RetryBudget > 1:
		return fmt.Errorf("retry_budget %v: want a fraction of the requests, at most 1", c.RetryBudget)
	case c.Eject != nil && (c.Eject.Base < 0 || c.Eject.Max < 0):
		return errors.New("eject: a time can't be negative")
	case c.Eject != nil && c.Eject.Max != 0 && c.Eject.Max < c.Eject.Base:
		return errors.New("eject: max must not be shorter than base")
	}
	return c.Probe.Validate()
}

// Settings returns the settings of the registry's service, with the prober that checks its endpoints. Fields that are zero in c
// are zero in the result: the app fills in its defaults.
func (c Config) Settings(p registry.Prober) registry.Settings {
	return registry.Settings{
		Hold: time.Duration(c.Hold), MaxHeld: c.MaxHeld, MaxHeldPerClient: c.MaxHeldPerClient, Probe: p, Eject: c.Eject.settings(),
		SlowStart: time.Duration(c.SlowStart), RetryBudget: c.RetryBudget, CloseWindow: time.Duration(c.CloseWindow),
	}
}

// Ejection is a passive check: the edge counts responses of 502, 503 and 504, and requests that are cut off, against an endpoint.
// It never ejects the last ready endpoint of a service.
type Ejection struct {
	// How many failed requests in a row eject an endpoint; negative: none do. Default: 5.
	After int `json:"after,omitempty"`

	// The time without requests after the first ejection. It doubles with each further one. The probe then decides whether the
	// endpoint is ready. Default: 5s.
	Base caddy.Duration `json:"base,omitempty"`

	// The longest time. Default: 5m.
	Max caddy.Duration `json:"max,omitempty"`
}

func (e *Ejection) settings() registry.Ejection {
	if e == nil {
		return registry.Ejection{}
	}
	return registry.Ejection{After: e.After, Base: time.Duration(e.Base), Max: time.Duration(e.Max)}
}

// Probe is an active check.
type Probe struct {
	// The paths to request, in order; the edge keeps the first that passes. Default: none; the check is a TCP connect.
	URIs []string `json:"uris,omitempty"`

	// The Host header. Default: the service's name.
	Host string `json:"host,omitempty"`

	// The status that passes: a code, or a class such as `2xx`, which is the default.
	Status string `json:"status,omitempty"`

	// A regular expression that the first 64 KiB of the body must match.
	Body string `json:"body,omitempty"`

	// Whether a TCP connect passes if none of the paths exists (404, 405 or 501).
	TCPFallback bool `json:"tcp_fallback,omitempty"`

	// The time between checks of a ready endpoint. Default: 10s.
	Interval caddy.Duration `json:"interval,omitempty"`

	// The timeout of one check. Default: 5s.
	Timeout caddy.Duration `json:"timeout,omitempty"`

	// How many passes in a row make an endpoint ready. Default: 1.
	Rise int `json:"rise,omitempty"`

	// How many failures in a row make a ready endpoint failing. Default: 3.
	Fall int `json:"fall,omitempty"`

	// The fraction of the interval, from 0 to 1, by which the edge moves each check at random; negative: none. Default: 0.1.
	Jitter float64 `json:"jitter,omitempty"`
}

// Validate returns an error if the probe's values are invalid or contradict each other.
func (p *Probe) Validate() error { return p.Config().Validate() }

// Config returns the configuration of the checks; of a nil probe, the default.
func (p *Probe) Config() probe.Config {
	if p == nil {
		return probe.Config{}
	}
	return probe.Config{
		URIs: p.URIs, Host: p.Host, Status: p.Status, Body: p.Body, TCP: p.TCPFallback,
		Interval: time.Duration(p.Interval), Timeout: time.Duration(p.Timeout),
		Rise: p.Rise, Fall: p.Fall, Jitter: p.Jitter,
	}
}
