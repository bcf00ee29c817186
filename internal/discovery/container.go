package discovery

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/moby/moby/api/types/container"

	"github.com/theworklabs/edge/internal/registry"
)

// Labels that Compose puts on containers, and ours.
const (
	labelProject     = "com.docker.compose.project"
	labelService     = "com.docker.compose.service"
	labelNumber      = "com.docker.compose.container-number"
	labelOneOff      = "com.docker.compose.oneoff"
	labelStopSignals = "edge.stop_signals" // "WINCH": these tell the container to stop, though they usually don't
)

// containerInfo is a container as the Engine's list shows it, reduced to what discovery needs.
type containerInfo struct {
	id              string
	project         string   // "" when Compose did not make it
	service         string   // of Compose
	names           []string // the service's and the container's own
	displayName     string
	running         bool
	unhealthyReason string
	networks        map[string][]netip.Addr
}

// Why a container must not be used although it runs.
const (
	reasonPaused    = "its container is paused"
	reasonUnhealthy = "Docker's health check says unhealthy"
)

// newContainerInfo reads a list entry; ok is false for one-off containers, which never serve, and for what has no identity.
func newContainerInfo(c container.Summary) (b containerInfo, ok bool) {
	if c.ID == "" || strings.EqualFold(c.Labels[labelOneOff], "true") {
		return containerInfo{}, false
	}
	b = containerInfo{
		id:       c.ID,
		project:  c.Labels[labelProject],
		running:  c.State == container.StateRunning || c.State == container.StatePaused,
		networks: make(map[string][]netip.Addr),
	}
	if s := c.Labels[labelService]; s != "" {
		b.service = strings.ToLower(s)
		b.names = append(b.names, b.service)
		b.displayName = b.project + "/" + s + "/" + c.Labels[labelNumber]
	}
	for _, n := range c.Names {
		n = strings.ToLower(strings.TrimPrefix(n, "/"))
		if n != "" && !slices.Contains(b.names, n) {
			b.names = append(b.names, n)
		}
		if b.displayName == "" {
			b.displayName = n
		}
	}
	switch {
	case c.State == container.StatePaused || strings.HasSuffix(c.Status, "(Paused)"):
		b.unhealthyReason = reasonPaused
	case strings.HasSuffix(c.Status, "(unhealthy)"):
		b.unhealthyReason = reasonUnhealthy
	}
	if c.NetworkSettings != nil {
		for name, ep := range c.NetworkSettings.Networks {
			if ep == nil {
				continue
			}
			for _, addr := range []netip.Addr{ep.IPAddress, ep.GlobalIPv6Address} {
				if addr.IsValid() && !addr.IsUnspecified() {
					b.networks[name] = append(b.networks[name], addr)
				}
			}
		}
	}
	return b, true
}

// member returns what the registry is told of the container, given the address that the edge reaches it at, if any.
func (b containerInfo) member(addr netip.Addr, leaving bool) registry.Member {
	m := registry.Member{ID: b.id, Name: b.displayName, Addr: addr, Phase: registry.Running, UnhealthyReason: b.unhealthyReason}
	switch {
	case !b.running:
		m.Phase, m.Addr, m.UnhealthyReason = registry.Stopped, netip.Addr{}, ""
	case !addr.IsValid():
		m.Phase, m.UnhealthyReason = registry.Unreachable, ""
	case leaving:
		m.Phase = registry.Terminating
	}
	return m
}

// nonStopSignals are those that do not tell a container to stop, by number and name: they are used to make programs
// reload, reopen or report.
var nonStopSignals = map[string]bool{"1": true, "10": true, "12": true, "28": true, "HUP": true, "USR1": true, "USR2": true, "WINCH": true}

var signalNumbers = map[string]string{"HUP": "1", "USR1": "10", "USR2": "12", "WINCH": "28"}

// CheckStopSignal returns an error when a signal need not, or can't, be declared to mean stop.
func CheckStopSignal(signal string) error {
	if !nonStopSignals[strings.TrimPrefix(strings.ToUpper(signal), "SIG")] {
		return fmt.Errorf("stop signal %q: only HUP, USR1, USR2 and WINCH can be named; every other one means stop anyway", signal)
	}
	return nil
}

// isStopSignal reports whether a signal, as an event names it ("15", "SIGTERM"), tells a container to stop. exceptions
// are names or numbers of signals that do although they usually don't.
func isStopSignal(signal string, exceptions []string) bool {
	signal = strings.TrimPrefix(strings.ToUpper(signal), "SIG")
	if !nonStopSignals[signal] {
		return true
	}
	return slices.ContainsFunc(exceptions, func(e string) bool {
		e = strings.TrimPrefix(strings.ToUpper(strings.TrimSpace(e)), "SIG")
		return e != "" && (e == signal || signalNumbers[e] == signal || signalNumbers[signal] == e)
	})
}
