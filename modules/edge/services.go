package edge

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"go.uber.org/zap"

	"github.com/theworklabs/edge/internal/probe"
	"github.com/theworklabs/edge/internal/registry"
	"github.com/theworklabs/edge/internal/traffic"
	"github.com/theworklabs/edge/modules/service"
)

// serviceRef is a service with the settings that the routes of one configuration give it.
type serviceRef struct {
	service *registry.Service
	config  service.Config
}

// Service returns the service of a name, such as "bigcapital-server:3000", for a route that gives it these settings. Call it while
// provisioning; the service is valid as long as the configuration.
func (a *App) Service(name string, config service.Config) (*registry.Service, error) {
	if err := config.Validate(); err != nil {
		return nil, fmt.Errorf("service %s: %w", name, err)
	}
	name, err := registry.NormalizeService(name)
	if err != nil {
		return nil, err
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
	s, err := a.runtime.registry.Declare(name)
	if err != nil {
		return nil, err
	}
	a.services[name] = &serviceRef{s, config}
	return s, nil
}

// Traffic returns the figures of a service, which outlive configurations.
func (a *App) Traffic(s *registry.Service) *traffic.Service {
	return a.runtime.traffic.Service(s.Name())
}

// Explain describes why a service can't be reached. For an unknown service it also lists the known names.
func (a *App) Explain(err error) string {
	if errors.Is(err, registry.ErrUnknown) {
		return a.runtime.registry.Explain(err)
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

// configureService applies the settings of a service's routes, with the app's defaults for what they leave out.
func (a *App) configureService(u *serviceRef) error {
	p, err := probe.New(u.config.Probe.Config(), a.runtime.logs.named("probe"), a.ReportExhausted)
	if err != nil {
		return err
	}
	settings := u.config.Settings(p)
	if settings.Hold == 0 {
		settings.Hold = time.Duration(a.Hold)
	}
	if settings.MaxHeld == 0 {
		settings.MaxHeld = a.MaxHeld
	}
	if settings.MaxHeldPerClient == 0 {
		settings.MaxHeldPerClient = a.MaxHeldPerClient
	}
	if settings.CloseWindow == 0 {
		settings.CloseWindow = time.Duration(a.CloseWindow)
	}
	u.service.Configure(settings)
	return nil
}

// ServiceProblem describes why a service has no endpoints, or what the operator has to change. It is empty if there is nothing to say.
func ServiceProblem(s registry.ServiceStatus) string {
	switch {
	case s.Problem != "":
		return s.Problem
	case len(s.Endpoints) > 0:
		return ""
	case s.Unreachable:
		return "its containers run, but are on no network that the edge uses"
	case s.Known:
		return "its containers are stopped"
	case s.Source != "":
		return "no container is known"
	default:
		return "not looked for yet"
	}
}

// endpointWatchers are called for each change of an endpoint's state, in addition to the log.
var endpointWatchers sync.Map

// WatchEndpoints calls f for each change of an endpoint's state until stop is called. f must not block.
func WatchEndpoints(f func(registry.Change)) (stop func()) {
	key := new(int)
	endpointWatchers.Store(key, f)
	return func() { endpointWatchers.Delete(key) }
}

// reportEndpointChange logs the change of an endpoint's state, and calls the watchers.
func (r *runtime) reportEndpointChange(c registry.Change) {
	r.noteChange(c)
	endpointWatchers.Range(func(_, f any) bool {
		f.(func(registry.Change))(c)
		return true
	})
	level := zap.InfoLevel
	if c.To == registry.Failing {
		level = zap.WarnLevel
	}
	if ce := r.logs.edge.Load().Check(level, "endpoint is "+string(c.To)); ce != nil {
		ce.Write(
			zap.String("service", c.Service), zap.String("endpoint", c.Name), zap.String("id", c.Endpoint),
			zap.String("address", c.Address), zap.String("from", string(c.From)), zap.String("reason", c.Reason),
		)
	}
}
