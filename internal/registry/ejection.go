package registry

import (
	"fmt"
	"net/netip"
	"time"
)

// The defaults of [Ejection].
const (
	DefaultEjectAfter = 5
	DefaultEjectBase  = 5 * time.Second
	DefaultEjectMax   = 5 * time.Minute
)

// Ejection is when an endpoint that passes its probe but fails its requests is taken out of rotation.
type Ejection struct {
	After int           // bad answers in a row; 0: DefaultEjectAfter; negative: never
	Base  time.Duration // for how long at first, doubled each time; 0: DefaultEjectBase
	Max   time.Duration // and at most; 0: DefaultEjectMax
}

func (j Ejection) withDefaults() Ejection {
	if j.After == 0 {
		j.After = DefaultEjectAfter
	}
	if j.Base == 0 {
		j.Base = DefaultEjectBase
	}
	if j.Max == 0 {
		j.Max = max(DefaultEjectMax, j.Base)
	}
	return j
}

// ReportSuccess reports that the endpoint answered as it should. It costs next to nothing.
func (c Claim) ReportSuccess() {
	if c.e.consecutiveFailures.Load() != 0 {
		c.e.consecutiveFailures.Store(0)
	}
}

// ReportFailure reports that the endpoint took a request and failed it: no answer, or one that says that the endpoint can't
// answer. A run of those ejects it for a time that grows, unless it is the last ready one, or all are one client's requests:
// what one client asks for may be what fails. The zero client is nobody in particular.
func (c Claim) ReportFailure(reason string, client netip.Addr) {
	e := c.e
	s := e.service
	s.mu.Lock()
	defer s.mu.Unlock()
	run := int(e.consecutiveFailures.Add(1))
	e.markStopObserved()
	if run == 1 {
		e.firstFailureClient, e.severalFailureClients = client, false
	}
	if !client.IsValid() || client != e.firstFailureClient {
		e.severalFailureClients = true
	}
	j := s.settings.Eject
	if j.After < 0 || run < j.After || !e.severalFailureClients || e.state != Ready || len(s.ready) < 2 {
		return
	}
	e.eject(fmt.Sprintf("%d bad answers in a row, the last: %s", run, reason))
}

// eject takes the endpoint out of rotation. The caller holds service.mu.
func (e *Endpoint) eject(reason string) {
	j := e.service.settings.Eject
	if time.Since(e.unejectedAt) > j.Max {
		e.ejections = 0 // it has been well for long
	}
	term := j.Max
	if e.ejections < 16 {
		term = min(j.Base<<e.ejections, j.Max)
	}
	e.ejections++
	e.ejectReason = fmt.Sprintf("ejected for %s: %s", term, reason)
	e.ejectTimer = time.AfterFunc(term, func() {
		e.service.mu.Lock()
		defer e.service.mu.Unlock()
		e.uneject()
	})
	e.updateState()
}

// uneject ends an ejection: the endpoint is ready again as soon as its probe passes. The caller holds service.mu.
func (e *Endpoint) uneject() {
	if e.ejectReason == "" {
		return
	}
	e.ejectTimer.Stop()
	e.ejectReason, e.unejectedAt = "", time.Now()
	e.consecutiveFailures.Store(0)
	if e.stopProbe != nil && e.probeState == Ready {
		e.probeState, e.probeReason, e.awaitingProbe = Failing, "its ejection is over; waiting for its probe", true
		e.checkNow()
	}
	e.updateState()
}

// unejectAll gives the ejected endpoints another chance: they are all that is left. The caller holds s.mu.
func (s *Service) unejectAll() {
	for _, e := range s.endpoints {
		e.uneject()
	}
}
