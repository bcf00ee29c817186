package main

import (
	"context"
	"fmt"
	"net/http"
	"sync"
	"time"

	"github.com/theworklabs/edge/tests/harness"
	"github.com/theworklabs/edge/tests/reliability/load"
)

// maxHeld is the edge's max_held.
const maxHeld = 1000

var heldUpToLimit = scenario{
	name:         "held up to the cap",
	what:         "1,200 requests come at once while no replica runs. The edge holds at most 1,000. Then a replica is started.",
	edgeOnly:     true,
	lossExpected: true,
	promise:      promise{none: true},
	run: func(ctx context.Context, s *testbed, proxies []proxy) ([]Result, error) {
		const n = maxHeld + 200
		edge := proxies[0]
		return s.withoutBackend(ctx, edge, "held up to the cap", n, []string{http.MethodGet}, func(ctx context.Context, cancel func(), r *Result) error {
			if err := s.waitHeld(ctx, edge, maxHeld); err != nil {
				return err
			}
			return s.startBackend(ctx)
		}, func(r *Result) {
			if t := r.Methods[http.MethodGet]; t.Answered != maxHeld || t.Refused != n-maxHeld {
				r.Violations = append(r.Violations, fmt.Sprintf("%d requests were answered and %d refused, want %d and %d", t.Answered, t.Refused, maxHeld, n-maxHeld))
			}
		})
	},
}

var clientsLeaveWhileHeld = scenario{
	name:         "clients leave while held",
	what:         "400 requests of all methods wait while no replica runs. Their clients leave. Then a replica is started.",
	edgeOnly:     true,
	lossExpected: true,
	promise:      promise{none: true},
	run: func(ctx context.Context, s *testbed, proxies []proxy) ([]Result, error) {
		const n = 400
		edge := proxies[0]
		return s.withoutBackend(ctx, edge, "clients leave while held", n, load.MethodMix, func(ctx context.Context, leave func(), r *Result) error {
			if err := s.waitHeld(ctx, edge, n); err != nil {
				return err
			}
			left := time.Now()
			leave()
			if err := s.waitHeld(ctx, edge, 0); err != nil {
				return err
			}
			r.Notes = append(r.Notes, fmt.Sprintf("no request was held %d ms after the clients had left", time.Since(left).Milliseconds()))
			return s.startBackend(ctx)
		}, func(r *Result) {
			if r.UnknownArrived > 0 {
				r.Violations = append(r.Violations, fmt.Sprintf("%d requests reached a backend although their clients had left", r.UnknownArrived))
			}
		})
	},
}

// withoutBackend stops api, sends n requests at once, and calls change while they wait. change may add notes to its result, and its
// leave cancels the requests. check adds violations.
func (s *testbed) withoutBackend(ctx context.Context, p proxy, name string, n int, methods []string,
	change func(ctx context.Context, leave func(), r *Result) error, check func(*Result),
) ([]Result, error) {
	if _, err := s.project.Compose(ctx, "stop", "--timeout", "1", "api"); err != nil {
		return nil, err
	}
	if err := harness.EventuallyContext(ctx, 10*time.Second, "the edge has no ready endpoint of api", func() bool { return s.edgeServiceStatus(ctx, p, "api:8080").Ready == 0 }); err != nil {
		return nil, err
	}
	sending, leave := context.WithCancel(ctx)
	defer leave()
	loading, stop := context.WithCancel(ctx)
	defer stop()
	var service, control *load.Record
	var both sync.WaitGroup
	both.Go(func() {
		defer stop()
		service = load.Stream{Address: p.address, Host: apiHost, Name: p.name + "-" + name}.Burst(sending, n, methods...)
	})
	both.Go(func() {
		control = load.Stream{Address: p.address, Host: controlHost, Rate: s.effort.Rate}.Run(loading)
	})
	var notes Result
	err := change(ctx, leave, &notes)
	if err != nil {
		leave()
	}
	both.Wait()
	if err != nil {
		return nil, err
	}
	r := newResult(name, p.name, service, control)
	r.Notes = notes.Notes
	r.Twice, r.UnknownArrived = s.countArrivals(service)
	check(&r)
	return []Result{r}, nil
}

func (s *testbed) startBackend(ctx context.Context) error {
	if _, err := s.project.Compose(ctx, "start", "api"); err != nil {
		return err
	}
	return s.waitAnswering(ctx, 1)
}

// waitHeld waits until n requests to api are held.
func (s *testbed) waitHeld(ctx context.Context, p proxy, n int) error {
	return harness.EventuallyContext(ctx, 10*time.Second, fmt.Sprintf("%d requests are held", n), func() bool {
		return s.edgeServiceStatus(ctx, p, "api:8080").Held == n
	})
}
