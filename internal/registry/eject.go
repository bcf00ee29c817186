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

// Well reports that the endpoint answered as it should. It costs next to nothing.
func (c Claim) Well() {
	if c.e.strikes.Load() != 0 {
		c.e.strikes.Store(0)
	}
}

// Badly reports that the endpoint took a request and failed it: no answer, or one that says that the endpoint can't
// answer. A run of those ejects it for a time that grows, unless it is the last ready one, or all are one client's requests:
// what one client asks for may be what fails. The zero client is nobody in particular.
func (c Claim) Badly(reason string, client netip.Addr) {
	e := c.e
	s := e.service
	s.mu.Lock()
	defer s.mu.Unlock()
	run := int(e.strikes.Add(1))
	e.endTerminating()
	if run == 1 {
		e.struckBy, e.struckBySeveral = client, false
	}
	if !client.IsValid() || client != e.struckBy {
		e.struckBySeveral = true
	}
	j := s.settings.Eject
	if j.After < 0 || run < j.After || !e.struckBySeveral || e.state != Ready || len(s.ready) < 2 {
		return
	}
	e.eject(fmt.Sprintf("%d bad answers in a row, the last: %s", run, reason))
}

// eject takes the endpoint out of rotation. The caller holds service.mu.
func (e *Endpoint) eject(reason string) {
	j := e.service.settings.Eject
	if time.Since(e.readmitted) > j.Max {
		e.ejections = 0 // it has been well for long
	}
	term := j.Max
	if e.ejections < 16 {
		term = min(j.Base<<e.ejections, j.Max)
	}
	e.ejections++
	e.ejected = fmt.Sprintf("ejected for %s: %s", term, reason)
	e.term = time.AfterFunc(term, func() {
		e.service.mu.Lock()
		defer e.service.mu.Unlock()
		e.readmit()
	})
	e.settle()
}

// readmit ends an ejection: the endpoint is ready again as soon as its probe passes. The caller holds service.mu.
func (e *Endpoint) readmit() {
	if e.ejected == "" {
		return
	}
	e.term.Stop()
	e.ejected, e.readmitted = "", time.Now()
	e.strikes.Store(0)
	if e.stopProbe != nil && e.verdict == Ready {
		e.verdict, e.finding, e.returning = Failing, "its ejection is over; waiting for its probe", true
		e.poke()
	}
	e.settle()
}

// readmitAll gives the ejected endpoints another chance: they are all that is left. The caller holds s.mu.
func (s *Service) readmitAll() {
	for _, e := range s.endpoints {
		e.readmit()
	}
}
