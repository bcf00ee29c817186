package registry

import "context"

// Prober checks a service's endpoints actively.
type Prober interface {
	// Run checks one endpoint until ctx ends, and reports the results to the target. The registry calls it once per endpoint.
	Run(ctx context.Context, t Target)
	// Same reports whether another prober checks in the same way.
	Same(other Prober) bool
}

// Target is an endpoint from the point of view of its probe. Reports are ignored after the context of the probe has ended.
type Target struct {
	e   *Endpoint
	ctx context.Context // of the probe
}

// Address returns where to probe, "172.18.0.7:3000".
func (t Target) Address() string { return t.e.address }

// Service returns the name of the service that the endpoint belongs to.
func (t Target) Service() string { return t.e.service.name }

// HostPort returns the first name of the service, without its project.
func (t Target) HostPort() string { return t.e.service.names[0].HostPort() }

// ReportReady reports that the endpoint passed its check.
func (t Target) ReportReady(reason string) { t.report(Ready, reason) }

// ReportFailing reports that the endpoint fails its checks. An endpoint that has never been ready stays in starting.
func (t Target) ReportFailing(reason string) { t.report(Failing, reason) }

// ReportFailedCheck reports a check that failed without being enough for [Target.ReportFailing]. It shows that an endpoint
// whose container was told to stop does so.
func (t Target) ReportFailedCheck() {
	t.e.service.mu.Lock()
	defer t.e.service.mu.Unlock()
	if t.ctx.Err() == nil {
		t.e.termination.observeStop()
	}
}

// Count counts a check, whether or not its result is reported.
func (t Target) Count(isSuccessful bool) {
	if isSuccessful {
		t.e.service.counters.successfulChecks.Add(1)
	} else {
		t.e.service.counters.failedChecks.Add(1)
	}
}

// CheckRequests returns the channel on which the registry asks for a check at once: a connection to the endpoint failed, or its
// container has recovered.
func (t Target) CheckRequests() <-chan struct{} { return t.e.checkRequests }

// IsReady reports whether the endpoint passed its last check, and no connection to it has failed since.
func (t Target) IsReady() bool {
	t.e.service.mu.Lock()
	defer t.e.service.mu.Unlock()
	return t.e.probeState == Ready
}

func (t Target) report(state State, reason string) {
	e := t.e
	e.service.mu.Lock()
	defer e.service.mu.Unlock()
	if e.state == Gone || t.ctx.Err() != nil {
		return
	}
	if state == Failing && e.probeState == Starting {
		state = Starting
	}
	e.probeState, e.probeReason, e.ejection.awaitingProbe = state, reason, false
	if state == Ready {
		e.recordTerminatingPass()
	} else {
		e.termination.observeStop()
	}
	e.updateState()
}

// startProbe starts to probe the endpoint, and ends an earlier probe of it. The caller holds service.mu.
func (e *Endpoint) startProbe() {
	if e.stopProbe != nil {
		e.stopProbe()
		e.stopProbe = nil
	}
	s := e.service
	prober := s.settings.Probe
	switch {
	case !s.configured:
		return // Configure sets the probe, and starts it
	case prober == nil:
		e.probeState, e.probeReason = Ready, "known; no probe is configured"
		e.updateState()
		return
	}
	ctx, cancel := context.WithCancel(context.Background())
	e.stopProbe = cancel
	s.r.probes.Go(func() { prober.Run(ctx, Target{e, ctx}) })
}
