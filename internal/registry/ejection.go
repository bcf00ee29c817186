package registry

import (
	"fmt"
	"net/netip"
	"sync/atomic"
	"time"
)

// The defaults of [Ejection].
const (
	DefaultEjectAfter = 5
	DefaultEjectBase  = 5 * time.Second
	DefaultEjectMax   = 5 * time.Minute
)

// Ejection configures when an endpoint that passes its probe but fails its requests is taken out of rotation, and for how
// long (outlier ejection).
type Ejection struct {
	After int           // bad answers in a row; 0: DefaultEjectAfter; negative: never
	Base  time.Duration // the first ejection's duration, doubled each time; 0: DefaultEjectBase
	Max   time.Duration // the longest duration; 0: DefaultEjectMax
}

func (s Ejection) withDefaults() Ejection {
	if s.After == 0 {
		s.After = DefaultEjectAfter
	}
	if s.Base == 0 {
		s.Base = DefaultEjectBase
	}
	if s.Max == 0 {
		s.Max = max(DefaultEjectMax, s.Base)
	}
	return s
}

// duration returns how long an endpoint stays out that has been ejected several times in a row before.
func (s Ejection) duration(before int) time.Duration {
	if before >= 16 { // the shift could overflow
		return s.Max
	}
	return min(s.Base<<before, s.Max)
}

// ejection is the state of one endpoint: its failures in a row, and its present ejection. All fields but consecutiveFailures
// are guarded by service.mu, which the caller of each method but resetFailures holds.
type ejection struct {
	consecutiveFailures atomic.Int32
	firstClient         netip.Addr // of the first of those failures
	hasSeveralClients   bool       // the failures are not all firstClient's

	reason        string // why the endpoint is out although it passes its probe; empty: it is not ejected
	timer         *time.Timer
	endsAt        time.Time
	count         int // ejections in a row
	endedAt       time.Time
	awaitingProbe bool // the ejection has ended, and the probe has not reported since
}

func (x *ejection) isActive() bool { return x.reason != "" }

func (x *ejection) resetFailures() {
	if x.consecutiveFailures.Load() != 0 {
		x.consecutiveFailures.Store(0)
	}
}

// countFailure counts a failed request of a client, and returns the number of failures in a row.
func (x *ejection) countFailure(client netip.Addr) (failures int) {
	failures = int(x.consecutiveFailures.Add(1))
	if failures == 1 {
		x.firstClient, x.hasSeveralClients = client, false
	}
	if !client.IsValid() || client != x.firstClient {
		x.hasSeveralClients = true
	}
	return failures
}

// begin starts an ejection, which calls end when its time is over.
func (x *ejection) begin(settings Ejection, reason string, end func()) {
	if time.Since(x.endedAt) > settings.Max {
		x.count = 0 // the endpoint has not been ejected for long
	}
	duration := settings.duration(x.count)
	x.count++
	x.reason = fmt.Sprintf("ejected for %s: %s", duration, reason)
	x.startTimer(duration, end)
}

// resume continues an ejection that another process has begun.
func (x *ejection) resume(from EjectedEndpoint, end func()) {
	x.count, x.reason = from.Count, from.Reason
	x.startTimer(from.Left, end)
}

func (x *ejection) startTimer(d time.Duration, end func()) {
	x.endsAt = time.Now().Add(d)
	x.timer = time.AfterFunc(d, end)
}

// end ends the ejection.
func (x *ejection) end() {
	x.timer.Stop()
	x.reason, x.endedAt = "", time.Now()
	x.consecutiveFailures.Store(0)
}

func (x *ejection) stopTimer() {
	if x.timer != nil {
		x.timer.Stop()
	}
}

// canEject reports whether an endpoint with so many failures in a row is to be ejected. The caller holds service.mu.
func (e *Endpoint) canEject(failures int) bool {
	after := e.service.settings.Eject.After
	return after >= 0 && failures >= after && e.ejection.hasSeveralClients && e.state == Ready && len(e.service.ready) >= 2
}

// eject takes the endpoint out of rotation. The caller holds service.mu.
func (e *Endpoint) eject(reason string) {
	e.service.counters.ejections.Add(1)
	e.ejection.begin(e.service.settings.Eject, reason, e.endEjection)
	e.updateState()
}

// endEjection ends an ejection whose time is over.
func (e *Endpoint) endEjection() {
	e.service.mu.Lock()
	defer e.service.mu.Unlock()
	e.uneject()
}

// uneject ends an ejection: the endpoint is ready again as soon as its probe passes. The caller holds service.mu.
func (e *Endpoint) uneject() {
	if !e.ejection.isActive() {
		return
	}
	e.ejection.end()
	if e.stopProbe != nil && e.probeState == Ready {
		e.probeState, e.probeReason = Failing, "its ejection is over; waiting for its probe"
		e.ejection.awaitingProbe = true
		e.checkNow()
	}
	e.updateState()
}

// unejectAll ends all ejections, when the service has no ready endpoint left. The caller holds s.mu.
func (s *Service) unejectAll() {
	for _, e := range s.endpoints {
		e.uneject()
	}
}
