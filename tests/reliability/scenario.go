package main

import (
	"context"
	"fmt"
	"time"
)

// scenario is one change of the stack under load.
type scenario struct {
	name            string
	what            string // a sentence for the report
	edgeOnly        bool   // it uses features that only the edge has
	lossExpected    bool   // it is meant to lose requests
	restartsProxies bool   // it restarts or reconfigures the proxies
	promise         promise

	env      map[string]string // variables of the compose file that differ from defaultVariables
	replicas int               // of api at the beginning; 0: 1

	// prepare runs before the load begins. It may be nil.
	prepare func(context.Context, *testbed) error
	// change runs once, under load through all proxies at the same time.
	change func(context.Context, *testbed) error
	// run takes the place of change if the scenario needs more control. The lab is in the scenario's state; proxies are those that
	// take part.
	run func(context.Context, *testbed, []proxy) ([]Result, error)
}

// promise is what the edge promises in a scenario. In every scenario it promises that no idempotent request is lost and that no POST
// is processed twice.
type promise struct {
	none        bool    // no promise, not even the general one: the scenario shows what is possible
	refusals    bool    // nothing but that no request is refused
	anyMethod   bool    // no request of any method is lost
	sockets     bool    // no WebSocket to control is lost
	maxP99Ratio float64 // limit of p99 divided by that of the control; 0: none

	maxGETP50 time.Duration // limit of the median of GET; 0: none
	// maxGETDelay is the limit of p99 of GET minus the downtime, and minus what the control's p99 is above its median: a busy machine
	// delays both. 0: none.
	maxGETDelay time.Duration
}

// scenarios returns all scenarios in the order in which they run: those that do not restart the proxies come first.
func scenarios() []scenario {
	return []scenario{
		recreateScenario(immediateExit), scaleScenario(immediateExit), rolloutScenario(immediateExit), recreateScenario(gracefulExit),
		recreateScenario(ignoresSIGTERM), scaleScenario(ignoresSIGTERM), rolloutScenario(ignoresSIGTERM),
		recreateScenario(unavailable), scaleScenario(unavailable), rolloutScenario(unavailable),
		silentBackend, flappingHealth, slowStart, pausedReplica,
		guardKilled, eventStreamCut, heldUpToLimit, clientsLeaveWhileHeld, webSocketDrain, reloads, engineRestart,
		idleSockets, edgeRolledOut, edgeUpdated, proxyRecreated, proxyKilled, lyingDNS,
	}
}

// perform prepares the lab, runs the scenario, and checks the promises of the edge.
func (s *testbed) perform(ctx context.Context, sc scenario, proxies []proxy) ([]Result, error) {
	results, err := s.runChange(ctx, sc, proxies)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", sc.name, err)
	}
	for i := range results {
		if r := &results[i]; r.Proxy == "edge" {
			r.Violations = append(r.Violations, sc.promise.violations(*r)...)
		}
	}
	return results, nil
}

func (s *testbed) runChange(ctx context.Context, sc scenario, proxies []proxy) ([]Result, error) {
	if sc.restartsProxies {
		if err := s.compareWithBaselines(ctx); err != nil {
			return nil, err
		}
	}
	if err := s.enterState(ctx, sc.env, max(sc.replicas, 1)); err != nil {
		return nil, fmt.Errorf("prepare: %w", err)
	}
	if sc.prepare != nil {
		if err := sc.prepare(ctx, s); err != nil {
			return nil, fmt.Errorf("prepare: %w", err)
		}
	}
	if sc.run != nil {
		return sc.run(ctx, s, proxies)
	}
	return s.observe(ctx, sc.name, proxies, func(ctx context.Context) error { return sc.change(ctx, s) })
}

// violations returns the promises that a result breaks.
func (p promise) violations(r Result) (all []string) {
	switch {
	case p.none:
		return nil
	case p.refusals:
		n := 0
		for _, t := range r.Methods {
			n += t.Refused
		}
		if n > 0 {
			all = append(all, fmt.Sprintf("%d requests were refused", n))
		}
		return all
	}
	if t := r.Idempotent(); t.Lost() > 0 {
		all = append(all, fmt.Sprintf("%d of %d idempotent requests were lost", t.Lost(), t.N))
	}
	if t := r.Post(); p.anyMethod && t.Lost() > 0 {
		all = append(all, fmt.Sprintf("%d of %d POSTs were lost", t.Lost(), t.N))
	}
	if r.Twice > 0 {
		all = append(all, fmt.Sprintf("%d POSTs were processed twice", r.Twice))
	}
	if t := idempotent(r.ControlMethods); t.Lost() > 0 {
		all = append(all, fmt.Sprintf("%d of %d idempotent requests to the control were lost", t.Lost(), t.N))
	}
	if n := r.ControlSockets.Lost(); p.sockets && n > 0 {
		all = append(all, fmt.Sprintf("%d of %d WebSockets were lost: %v", n, r.ControlSockets.Opened, r.ControlSockets.Codes))
	}
	if limit := milliseconds(p.maxGETP50); limit > 0 && r.GET.P50 > limit {
		all = append(all, fmt.Sprintf("p50 of GET is %.0f ms, want at most %.0f", r.GET.P50, limit))
	}
	busyDelay := r.Control.P99 - r.Control.P50
	if limit := r.Downtime + milliseconds(p.maxGETDelay) + busyDelay; p.maxGETDelay > 0 && r.GET.P99 > limit {
		all = append(all, fmt.Sprintf("p99 of GET is %.0f ms, want at most %.0f", r.GET.P99, limit))
	}
	if p.maxP99Ratio > 0 && r.Ratio > p.maxP99Ratio {
		all = append(all, fmt.Sprintf("p99 is %.1f times the control's, want at most %.1f", r.Ratio, p.maxP99Ratio))
	}
	return all
}
