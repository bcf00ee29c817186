package main

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/theworklabs/edge/tests/reliability/load"
	"github.com/theworklabs/edge/tests/reliability/sockets"
)

// echoTimeout is how long an open WebSocket may take to echo a message.
const echoTimeout = 5 * time.Second

// observe runs a change while requests and WebSockets go through all the given proxies at the same time. It returns a result for each
// proxy.
func (s *testbed) observe(ctx context.Context, name string, proxies []proxy, change func(context.Context) error) ([]Result, error) {
	return s.observeWith(ctx, s.effort.Sockets, name, proxies, change)
}

// observeWith is observe with n WebSockets to api.
func (s *testbed) observeWith(ctx context.Context, n int, name string, proxies []proxy, change func(context.Context) error) ([]Result, error) {
	results := make([]Result, len(proxies))
	errs := make([]error, len(proxies))
	loading, stop := context.WithCancel(ctx)
	defer stop()
	var opened, all sync.WaitGroup
	opened.Add(len(proxies))
	for i, p := range proxies {
		all.Go(func() { results[i], errs[i] = s.observeProxy(loading, n, name, p, opened.Done) })
	}
	opened.Wait()
	err := sleep(ctx, s.effort.Lead)
	if err == nil {
		err = change(ctx)
	}
	err = errors.Join(err, sleep(ctx, s.effort.Window))
	stop()
	all.Wait()
	if err = errors.Join(append(errs, err)...); err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	return results, nil
}

// observeProxy sends requests through one proxy and keeps WebSockets open until ctx ends, n of them to api. It calls opened when the
// WebSockets are open.
func (s *testbed) observeProxy(ctx context.Context, n int, name string, p proxy, opened func()) (Result, error) {
	api, control, err := s.openSockets(ctx, p, n)
	opened()
	if err != nil {
		return Result{}, err
	}
	defer api.Close()
	defer control.Close()
	began := time.Now()
	service, left := load.Pair{
		Service: load.Stream{Address: p.address, Host: apiHost, Rate: s.effort.Rate, Name: p.name + "-" + name},
		Control: load.Stream{Address: p.address, Host: controlHost, Rate: max(s.effort.Rate/2, 1)},
	}.Run(ctx)
	r := newResult(name, p.name, service, left)
	r.Sockets, r.ControlSockets = api.Count(began, echoTimeout), control.Count(began, echoTimeout)
	r.Twice, r.UnknownArrived = s.countArrivals(service)
	if n := countRepeated(r); n > 0 {
		r.Notes = append(r.Notes, fmt.Sprintf("%s repeated by the client, because its kept connection had been closed", plural(n, "request")))
	}
	return r, nil
}

// openSockets opens WebSockets to both services, n of them to api.
func (s *testbed) openSockets(ctx context.Context, p proxy, n int) (api, control *sockets.Group, err error) {
	if api, err = sockets.Open(ctx, p.socketTarget(apiHost), n); err != nil {
		return nil, nil, fmt.Errorf("%s: %w", p.name, err)
	}
	if control, err = sockets.Open(ctx, p.socketTarget(controlHost), s.effort.Sockets); err != nil {
		api.Close()
		return nil, nil, fmt.Errorf("%s: %w", p.name, err)
	}
	return api, control, nil
}

// countArrivals counts, from the arrival log, the POSTs that were processed more than once, and the requests with an unknown outcome
// that arrived.
func (s *testbed) countArrivals(r *load.Record) (twice, unknownArrived int) {
	for _, sample := range r.Samples {
		times := s.arrivalLog.Times(sample.ID)
		if !load.Idempotent(sample.Method) && times > 1 {
			twice++
		}
		if sample.Outcome == load.Unknown && times > 0 {
			unknownArrived++
		}
	}
	return twice, unknownArrived
}

// countRepeated counts the answered requests that the client had repeated by itself.
func countRepeated(r Result) (n int) {
	for _, t := range r.Methods {
		n += t.Repeated
	}
	return n
}

// forEachProxy calls do for all proxies concurrently.
func forEachProxy(proxies []proxy, do func(proxy) error) error {
	errs := make([]error, len(proxies))
	var all sync.WaitGroup
	for i, p := range proxies {
		all.Go(func() { errs[i] = do(p) })
	}
	all.Wait()
	return errors.Join(errs...)
}
