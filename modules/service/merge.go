package service

import (
	"fmt"
	"reflect"
	"strings"
	"time"

	"github.com/caddyserver/caddy/v2"
)

// Merge combines what two routes configure for one service. It returns an error that names the settings for which both have a
// value, and not the same one.
func (c Config) Merge(other Config) (Config, error) {
	var conflicts []string
	mergeSetting(&conflicts, "probe", &c.Probe, other.Probe)
	mergeSetting(&conflicts, "hold", &c.Hold, other.Hold)
	mergeSetting(&conflicts, "max_held", &c.MaxHeld, other.MaxHeld)
	mergeSetting(&conflicts, "max_held_per_client", &c.MaxHeldPerClient, other.MaxHeldPerClient)
	mergeSetting(&conflicts, "eject", &c.Eject, other.Eject)
	mergeSetting(&conflicts, "slow_start", &c.SlowStart, other.SlowStart)
	mergeSetting(&conflicts, "retry_budget", &c.RetryBudget, other.RetryBudget)
	mergeSetting(&conflicts, "close_window", &c.CloseWindow, other.CloseWindow)
	if len(conflicts) > 0 {
		return c, fmt.Errorf("two routes to it differ in %s; configure the service in one place, or the same in both", strings.Join(conflicts, ", "))
	}
	return c, nil
}

// mergeSetting sets the setting to other's value if it has none, and adds to conflicts if it has a different one. The zero value
// is no value.
func mergeSetting[T any](conflicts *[]string, name string, setting *T, other T) {
	var zero T
	switch {
	case reflect.DeepEqual(other, zero):
	case reflect.DeepEqual(*setting, zero):
		*setting = other
	case !reflect.DeepEqual(*setting, other):
		*conflicts = append(*conflicts, name+formatValues(*setting, other))
	}
}

// formatValues returns two values of a setting in brackets, or nothing if they are too long to show.
func formatValues(a, b any) string {
	switch a := a.(type) {
	case caddy.Duration:
		return fmt.Sprintf(" (%s and %s)", time.Duration(a), time.Duration(b.(caddy.Duration)))
	case int, float64:
		return fmt.Sprintf(" (%v and %v)", a, b)
	}
	return ""
}
