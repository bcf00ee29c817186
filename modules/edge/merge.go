package edge

import (
	"fmt"
	"reflect"
	"strings"
	"time"

	"github.com/caddyserver/caddy/v2"
)

// Merge returns what two routes say of one service together, or an error that names what they contradict each other in.
func (c ServiceConfig) Merge(other ServiceConfig) (ServiceConfig, error) {
	var differ []string
	mergeSetting(&differ, "probe", &c.Probe, other.Probe)
	mergeSetting(&differ, "hold", &c.Hold, other.Hold)
	mergeSetting(&differ, "max_held", &c.MaxHeld, other.MaxHeld)
	mergeSetting(&differ, "max_held_per_client", &c.MaxHeldPerClient, other.MaxHeldPerClient)
	mergeSetting(&differ, "eject", &c.Eject, other.Eject)
	mergeSetting(&differ, "slow_start", &c.SlowStart, other.SlowStart)
	mergeSetting(&differ, "retry_budget", &c.RetryBudget, other.RetryBudget)
	mergeSetting(&differ, "close_window", &c.CloseWindow, other.CloseWindow)
	if len(differ) > 0 {
		return c, fmt.Errorf("two routes to it differ in %s; it is one service: say it in one place, or the same in both", strings.Join(differ, ", "))
	}
	return c, nil
}

// mergeSetting puts what is said of one setting in other into the setting, or adds to differ that both say something else. The
// zero value says nothing.
func mergeSetting[T any](differ *[]string, name string, setting *T, other T) {
	var nothing T
	switch {
	case reflect.DeepEqual(other, nothing):
	case reflect.DeepEqual(*setting, nothing):
		*setting = other
	case !reflect.DeepEqual(*setting, other):
		*differ = append(*differ, name+formatValues(*setting, other))
	}
}

// formatValues shows two values of a setting, if they are short.
func formatValues(a, b any) string {
	switch a := a.(type) {
	case caddy.Duration:
		return fmt.Sprintf(" (%s and %s)", time.Duration(a), time.Duration(b.(caddy.Duration)))
	case int, float64:
		return fmt.Sprintf(" (%v and %v)", a, b)
	}
	return ""
}
