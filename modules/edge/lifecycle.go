package edge

import (
	"context"
	"slices"

	"github.com/caddyserver/caddy/v2"
)

// Caddy starts a new configuration beside the old one, and only then finds whether all of its apps can start: a port may
// be taken. So the new one leaves alone what the old one uses until Caddy says that all of it has started.

// isFirstStart reports whether no configuration has started yet.
func (l *runtime) isFirstStart() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.startedApps) == 0
}

// addStartedApp adds a configuration to those that use the living, and returns the one that is in force; nil if there is none.
func (l *runtime) addStartedApp(a *App) (inForce *App) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.startedApps = append(l.startedApps, a)
	return l.active
}

// removeStartedApp removes a configuration, and returns the one that must take its place if it was in force.
func (l *runtime) removeStartedApp(a *App) (heir *App) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.startedApps = slices.DeleteFunc(l.startedApps, func(other *App) bool { return other == a })
	if l.active != a {
		return nil
	}
	l.active = nil
	if last := len(l.startedApps) - 1; last >= 0 {
		heir = l.startedApps[last]
	}
	return heir
}

// startedHandler puts a configuration in force, now that Caddy has started all of it.
type startedHandler struct{ app *App }

// Handle implements caddyevents.Handler.
func (s startedHandler) Handle(context.Context, caddy.Event) error {
	s.app.runtime.provisionedAt.Store(s.app.provisionedAt.UnixNano())
	return s.app.activate()
}

// activate applies the settings to the living registry and sees that the sources run as configured.
func (a *App) activate() error {
	a.runtime.setLoggers(a.log, a.httpLog)
	if err := a.configureServices(nil); err != nil {
		return err
	}
	a.runtime.reconcileSources(a)
	return nil
}

// configureServices applies the settings of the services, except those that another configuration uses.
func (a *App) configureServices(except *App) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	for name, u := range a.services {
		if except.routesTo(name) {
			continue
		}
		if err := a.configureService(u); err != nil {
			return err
		}
	}
	return nil
}

// routesTo reports whether the configuration routes to a service; none does not.
func (a *App) routesTo(name string) bool {
	if a == nil {
		return false
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.services[name] != nil
}
