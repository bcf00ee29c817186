package edge

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
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
func (p *Probe) Check() error { return p.config().Check() }

// use is a service with what the routes of one configuration say of it.
type use struct {
	service *registry.Service
	config  ServiceConfig
}

// Service returns the service of a name such as "bigcapital-server:3000" for a route that says config of it. To be
// called while provisioning; the service stays valid as long as the configuration.
func (a *App) Service(name string, config ServiceConfig) (*registry.Service, error) {
	if err := config.check(); err != nil {
		return nil, fmt.Errorf("service %s: %w", name, err)
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if u := a.services[name]; u != nil {
		merged, err := u.config.Merge(config)
		if err != nil {
			return nil, fmt.Errorf("service %s: %w", name, err)
		}
		u.config = merged
		return u.service, nil
	}
	s, err := a.living.registry.Declare(name)
	if err != nil {
		return nil, err
	}
	a.services[name] = &use{s, config}
	return s, nil
}

// Explain puts into words why a service can't be reached; of an unknown one, also which names are known.
func (a *App) Explain(err error) string {
	if errors.Is(err, registry.ErrUnknown) {
		return a.living.registry.Explain(err)
	}
	return err.Error()
}

// Services returns the services that this configuration routes to, sorted by name.
func (a *App) Services() []*registry.Service {
	a.mu.Lock()
	defer a.mu.Unlock()
	all := make([]*registry.Service, 0, len(a.services))
	for _, name := range slices.Sorted(maps.Keys(a.services)) {
		all = append(all, a.services[name].service)
	}
	return all
}

// apply gives a service the settings that its routes and the app's defaults make.
func (a *App) apply(u *use) error {
	p, err := probe.New(u.config.Probe.config(), a.living.logger("probe"))
	if err != nil {
		return err
	}
	settings := registry.Settings{Hold: time.Duration(u.config.Hold), MaxHeld: u.config.MaxHeld, Probe: p}
	if settings.Hold == 0 {
		settings.Hold = time.Duration(a.Hold)
	}
	if settings.MaxHeld == 0 {
		settings.MaxHeld = a.MaxHeld
	}
	u.service.Configure(settings)
	return nil
}

func (c ServiceConfig) check() error {
	switch {
	case c.Hold < 0:
		return fmt.Errorf("hold can't be negative")
	case c.MaxHeld < 0:
		return fmt.Errorf("max_held can't be negative")
	}
	return c.Probe.Check()
}

// Merge returns what two routes say of one service together, or an error that names what they contradict each other in.
func (c ServiceConfig) Merge(other ServiceConfig) (ServiceConfig, error) {
	var differ []string
	switch {
	case c.Probe == nil:
		c.Probe = other.Probe
	case other.Probe != nil && !same(*c.Probe, *other.Probe):
		differ = append(differ, "probe")
	}
	switch {
	case c.Hold == 0:
		c.Hold = other.Hold
	case other.Hold != 0 && c.Hold != other.Hold:
		differ = append(differ, fmt.Sprintf("hold (%s and %s)", time.Duration(c.Hold), time.Duration(other.Hold)))
	}
	switch {
	case c.MaxHeld == 0:
		c.MaxHeld = other.MaxHeld
	case other.MaxHeld != 0 && c.MaxHeld != other.MaxHeld:
		differ = append(differ, fmt.Sprintf("max_held (%d and %d)", c.MaxHeld, other.MaxHeld))
	}
	if len(differ) > 0 {
		return c, fmt.Errorf("two routes to it differ in %s; it is one service: say it in one place, or the same in both", strings.Join(differ, ", "))
	}
	return c, nil
}

func same(a, b Probe) bool {
	x, errX := json.Marshal(a)
	y, errY := json.Marshal(b)
	return errX == nil && errY == nil && string(x) == string(y)
}
