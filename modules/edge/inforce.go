package edge

import (
	"context"
	"slices"

	"github.com/caddyserver/caddy/v2"
)

// Caddy starts a new configuration beside the old one, and only then finds whether all of its apps can start: a port may
// be taken. So the new one leaves alone what the old one uses until Caddy says that all of it has started.

// first reports whether no configuration has started yet.
func (l *living) first() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.users) == 0
}

// join adds a configuration to those that use the living, and returns the one that is in force; nil if there is none.
func (l *living) join(a *App) (inForce *App) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.users = append(l.users, a)
	return l.inForce
}

// leave removes a configuration, and returns the one that must take its place if it was in force.
func (l *living) leave(a *App) (heir *App) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.users = slices.DeleteFunc(l.users, func(other *App) bool { return other == a })
	if l.inForce != a {
		return nil
	}
	l.inForce = nil
	if last := len(l.users) - 1; last >= 0 {
		heir = l.users[last]
	}
	return heir
}

// onStarted puts a configuration in force, now that Caddy has started all of it.
type onStarted struct{ app *App }

// Handle implements caddyevents.Handler.
func (s onStarted) Handle(context.Context, caddy.Event) error {
	s.app.living.loaded.Store(s.app.provisioned.UnixNano())
	return s.app.enforce()
}

// enforce applies the settings to the living registry and sees that the sources run as configured.
func (a *App) enforce() error {
	a.living.setLog(a.log, a.httpLog)
	if err := a.configure(nil); err != nil {
		return err
	}
	a.living.run(a)
	return nil
}

// configure applies the settings of the services, except those that another configuration uses.
func (a *App) configure(except *App) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	for name, u := range a.services {
		if except.uses(name) {
			continue
		}
		if err := a.apply(u); err != nil {
			return err
		}
	}
	return nil
}

// uses reports whether the configuration routes to a service; none does not.
func (a *App) uses(name string) bool {
	if a == nil {
		return false
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.services[name] != nil
}
