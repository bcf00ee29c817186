package registry

import "context"

// Target is an endpoint as its probe sees it.
type Target struct {
	e   *Endpoint
	ctx context.Context // of the probe: what is reported after its end is not taken
}

// Address returns where to probe, "172.18.0.7:3000".
func (t Target) Address() string { return t.e.address }

// Service returns the name of the service that the endpoint belongs to.
func (t Target) Service() string { return t.e.service.name }

// ReportReady reports that the endpoint passed its check.
func (t Target) ReportReady(reason string) { t.report(Ready, reason) }

// ReportFailing reports that it did not. An endpoint that has never answered stays in starting.
func (t Target) ReportFailing(reason string) { t.report(Failing, reason) }

// ReportFailedCheck reports a check that failed without being enough for [Target.ReportFailing]. It shows that an endpoint that was told to stop
// does so.
func (t Target) ReportFailedCheck() {
	t.e.service.mu.Lock()
	defer t.e.service.mu.Unlock()
	if t.ctx.Err() == nil {
		t.e.markStopObserved()
	}
}

// CheckRequests is sent to when it is time to look again: a request could not be sent to the endpoint, or its container is
// well again.
func (t Target) CheckRequests() <-chan struct{} { return t.e.checkRequests }

// IsReady reports whether the last thing that was found of the endpoint is that it answers.
func (t Target) IsReady() bool {
	t.e.service.mu.Lock()
	defer t.e.service.mu.Unlock()
	return t.e.probeState == Ready
}

func (t Target) report(verdict State, reason string) {
	e := t.e
	e.service.mu.Lock()
	defer e.service.mu.Unlock()
	if e.state == Gone || t.ctx.Err() != nil {
		return
	}
	if verdict == Failing && e.probeState == Starting {
		verdict = Starting
	}
	e.probeState, e.probeReason, e.awaitingProbe = verdict, reason, false
	if verdict == Ready {
		e.recordTerminatingPass()
	} else {
		e.markStopObserved()
	}
	e.updateState()
}

// startProbe begins to probe the endpoint, ending an earlier probe of it. The caller holds service.mu.
func (e *Endpoint) startProbe() {
	if e.stopProbe != nil {
		e.stopProbe()
		e.stopProbe = nil
	}
	s := e.service
	prober := s.settings.Probe
	switch {
	case !s.configured:
		return // it is not known yet how it is to be probed
	case prober == nil:
		e.probeState, e.probeReason = Ready, "known; no probe is set"
		e.updateState()
		return
	}
	ctx, cancel := context.WithCancel(context.Background())
	e.stopProbe = cancel
	s.r.probes.Go(func() { prober.Run(ctx, Target{e, ctx}) })
}
