package main

import (
	"context"
	"fmt"
	"time"
)

// scenario is one thing that happens to the stack while requests go on.
type scenario struct {
	name            string
	what            string // in a sentence, for the report
	edgeOnly        bool   // it needs what only an edge has
	lossExpected    bool   // that requests are not answered is what is tried
	restartsProxies bool   // it leaves the proxies other than it found them
	promise         promise

	env      map[string]string // of the compose file, where it is not the usual
	replicas int               // of api, when it begins; 0: 1

	// prepare is done before the load begins; nil: nothing.
	prepare func(context.Context, *testbed) error
	// change is what happens to all proxies at once, in front of the same backends.
	change func(context.Context, *testbed) error
	// run is there instead of change where that doesn't do. The lab is in its state, and the proxies are those that take part.
	run func(context.Context, *testbed, []proxy) ([]Result, error)
}

// promise is what the edge must keep. No idempotent request is ever lost and no POST carried out twice; these come on top.
type promise struct {
	none        bool    // not even that: the scenario shows what can be had
	anyMethod   bool    // nothing is lost, of any method
	sockets     bool    // no WebSocket to control is lost
	maxP99Ratio float64 // its p99 is within so many times the control's; 0: no word about that

	maxGETP50   time.Duration // the median of GET is within it; 0: no word about that
	maxGETDelay time.Duration // p99 of GET is longer than the downtime by so much at most; 0: no word about that
}

// scenarios returns all of them in the order in which they run: those that leave the proxies as they are come first.
func scenarios() []scenario {
	return []scenario{
		recreateScenario(immediateExit), scaleScenario(immediateExit), rolloutScenario(immediateExit), recreateScenario(gracefulExit),
		recreateScenario(ignoresSIGTERM), scaleScenario(ignoresSIGTERM), rolloutScenario(ignoresSIGTERM),
		recreateScenario(unavailable), scaleScenario(unavailable), rolloutScenario(unavailable),
		silentBackend, flappingHealth, slowStart, pausedReplica,
		guardKilled, eventStreamCut, heldUpToLimit, clientsLeaveWhileHeld, webSocketDrain, reloads, edgeOnSharedPort, engineRestart,
		idleSockets, proxyRecreated, lyingDNS,
	}
}

// perform brings the lab into its state, lets the scenario happen, and judges by what the edge promises.
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

// violations returns what the edge promises and a result does not keep.
func (p promise) violations(r Result) (all []string) {
	if p.none {
		return nil
	}
	if t := r.Idempotent(); t.Lost() > 0 {
		all = append(all, fmt.Sprintf("%d of %d idempotent requests were lost", t.Lost(), t.N))
	}
	if t := r.Post(); p.anyMethod && t.Lost() > 0 {
		all = append(all, fmt.Sprintf("%d of %d POSTs were lost", t.Lost(), t.N))
	}
	if r.Twice > 0 {
		all = append(all, fmt.Sprintf("%d POSTs were carried out twice", r.Twice))
	}
	if t := idempotent(r.ControlMethods); t.Lost() > 0 {
		all = append(all, fmt.Sprintf("%d of %d idempotent requests to the service that was left alone were lost", t.Lost(), t.N))
	}
	if n := r.ControlSockets.Lost(); p.sockets && n > 0 {
		all = append(all, fmt.Sprintf("%d of %d WebSockets were lost: %v", n, r.ControlSockets.Opened, r.ControlSockets.Codes))
	}
	if limit := milliseconds(p.maxGETP50); limit > 0 && r.GET.P50 > limit {
		all = append(all, fmt.Sprintf("p50 of GET is %.0f ms, want %.0f at the most", r.GET.P50, limit))
	}
	if limit := r.Downtime + milliseconds(p.maxGETDelay); p.maxGETDelay > 0 && r.GET.P99 > limit {
		all = append(all, fmt.Sprintf("p99 of GET is %.0f ms, want %.0f at the most", r.GET.P99, limit))
	}
	if p.maxP99Ratio > 0 && r.Ratio > p.maxP99Ratio {
		all = append(all, fmt.Sprintf("p99 is %.1f times the control's, want %.1f at the most", r.Ratio, p.maxP99Ratio))
	}
	return all
}
