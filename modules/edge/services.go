package edge

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/theworklabs/edge/internal/probe"
	"github.com/theworklabs/edge/internal/registry"
	"github.com/theworklabs/edge/modules/service"
)

// serviceRef is a service with what the routes of one configuration say of it.
type serviceRef struct {
	service *registry.Service
	config  service.Config
}

// Service returns the service of a name such as "bigcapital-server:3000" for a route that says config of it. To be
// called while provisioning; the service stays valid as long as the configuration.
func (a *App) Service(name string, config service.Config) (*registry.Service, error) {
	if err := config.Validate(); err != nil {
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
	s, err := a.runtime.registry.Declare(name)
	if err != nil {
		return nil, err
	}
	a.services[name] = &serviceRef{s, config}
	return s, nil
}

// Explain puts into words why a service can't be reached; of an unknown one, also which names are known.
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

// configureService gives a service the settings that its routes and the app's defaults make.
func (a *App) configureService(u *serviceRef) error {
	p, err := probe.New(u.config.Probe.Config(), a.runtime.logger("probe"), a.ReportExhausted)
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
