package main

import (
	"context"
	"fmt"
	"time"
)

// scenario is one thing that happens to the stack while requests go on.
type scenario struct {
	name     string
	what     string // in a sentence, for the report
	edgeOnly bool   // it needs what only an edge has
	apart    bool   // that requests are not answered is what is tried
	restarts bool   // it leaves the proxies other than it found them
	promise  promise

	env      map[string]string // of the compose file, where it is not the usual
	replicas int               // of api, when it begins; 0: 1

	// prepare is done before the load begins; nil: nothing.
	prepare func(context.Context, *stage) error
	// change is what happens to all proxies at once, in front of the same backends.
	change func(context.Context, *stage) error
	// run is there instead of change where that doesn't do. The lab is in its state, and the proxies are those that take part.
	run func(context.Context, *stage, []proxy) ([]Result, error)
}

// promise is what the edge must keep. No idempotent request is ever lost and no POST carried out twice; these come on top.
type promise struct {
	nothing   bool    // not even that: the scenario shows what can be had
	anyMethod bool    // nothing is lost, of any method
	sockets   bool    // no WebSocket to control is lost
	ratio     float64 // its p99 is within so many times the control's; 0: no word about that

	getP50  time.Duration // the median of GET is within it; 0: no word about that
	getLate time.Duration // p99 of GET is longer than the downtime by so much at most; 0: no word about that
}

// scenarios returns all of them in the order in which they run: those that leave the proxies as they are come first.
func scenarios() []scenario {
	return []scenario{
		recreated(rude), scaled(rude), rolledOut(rude), recreated(polite),
		recreated(deaf), scaled(deaf), rolledOut(deaf),
		recreated(unavailable), scaled(unavailable), rolledOut(unavailable),
		silent, flapping, slowStart, pause,
		guardKilled, streamCut, held, leaving, drain, reload, takeover, engineRestart,
		idleSockets, proxyRecreated, liar,
	}
}

// perform brings the lab into its state, lets the scenario happen, and judges by what the edge promises.
func (s *stage) perform(ctx context.Context, sc scenario, proxies []proxy) ([]Result, error) {
	results, err := s.happen(ctx, sc, proxies)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", sc.name, err)
	}
	for i := range results {
		if r := &results[i]; r.Proxy == "edge" {
			r.Broken = append(r.Broken, sc.promise.broken(*r)...)
		}
	}
	return results, nil
}

func (s *stage) happen(ctx context.Context, sc scenario, proxies []proxy) ([]Result, error) {
	if sc.restarts {
		if err := s.compare(ctx); err != nil {
			return nil, err
		}
	}
	if err := s.set(ctx, sc.env, max(sc.replicas, 1)); err != nil {
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

// broken returns what the edge promises and a result does not keep.
func (p promise) broken(r Result) (all []string) {
	if p.nothing {
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
	if limit := milliseconds(p.getP50); limit > 0 && r.GET.P50 > limit {
		all = append(all, fmt.Sprintf("p50 of GET is %.0f ms, want %.0f at the most", r.GET.P50, limit))
	}
	if limit := r.Downtime + milliseconds(p.getLate); p.getLate > 0 && r.GET.P99 > limit {
		all = append(all, fmt.Sprintf("p99 of GET is %.0f ms, want %.0f at the most", r.GET.P99, limit))
	}
	if p.ratio > 0 && r.Ratio > p.ratio {
		all = append(all, fmt.Sprintf("p99 is %.1f times the control's, want %.1f at the most", r.Ratio, p.ratio))
	}
	return all
}
