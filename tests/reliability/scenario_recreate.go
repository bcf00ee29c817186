package main

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/theworklabs/edge/tests/harness"
)

// bootDelay is how long a replica of api takes to boot once Docker has started it.
const bootDelay = time.Second

// recreateScenario returns the scenario in which the only replica is recreated.
func recreateScenario(t termination) scenario {
	name := "recreate (" + t.name + ")"
	sc := scenario{
		name: name,
		what: "The only replica is recreated. The new one boots for a second. " + t.what,
		env:  t.env(),
		run: func(ctx context.Context, s *testbed, proxies []proxy) ([]Result, error) {
			var downtime time.Duration
			change := t.checkStopTime(func(ctx context.Context, s *testbed) (err error) {
				downtime, err = s.recreate(ctx)
				return err
			})
			results, err := s.observe(ctx, name, proxies, func(ctx context.Context) error { return change(ctx, s) })
			for i := range results {
				r := &results[i]
				r.Downtime = milliseconds(downtime)
				r.Notes = append(r.Notes, fmt.Sprintf("downtime of the service %.0f ms; GET: p50 %.0f ms, p99 %.0f ms, max %.0f ms",
					r.Downtime, r.GET.P50, r.GET.P99, r.GET.Max))
			}
			return results, err
		},
	}
	if t.name == ignoresSIGTERM.name {
		// A GET may wait for the new replica, but not for the stop of the old one, which takes at least 2 s.
		sc.promise = promise{maxGETP50: 300 * time.Millisecond, maxGETDelay: 600 * time.Millisecond}
	}
	return sc
}

// recreate recreates the only replica of api effort.Times times. It returns the longest time from the end of an old replica until the
// new one listened.
func (s *testbed) recreate(ctx context.Context) (downtime time.Duration, err error) {
	for range s.effort.Times {
		began := time.Now()
		old, err := s.project.Container(ctx, "api")
		if err != nil {
			return 0, err
		}
		if _, err := s.project.Compose(ctx, "up", "--detach", "--no-deps", "--force-recreate", "api"); err != nil {
			return 0, err
		}
		if err := s.waitAnswering(ctx, 1); err != nil {
			return 0, err
		}
		ended, err := endTime(ctx, old, began)
		if err != nil {
			return 0, err
		}
		listening, err := s.listeningSince(ctx)
		if err != nil {
			return 0, err
		}
		downtime = max(downtime, listening.Sub(ended))
		if err := sleep(ctx, s.effort.Lead); err != nil {
			return 0, err
		}
	}
	return downtime, nil
}

// endTime returns when a container ended, from Docker's events since a time. The container may have been removed.
func endTime(ctx context.Context, id string, since time.Time) (time.Time, error) {
	out, err := harness.RunDocker(ctx, "events", "--since", since.Format(time.RFC3339Nano), "--until", time.Now().Format(time.RFC3339Nano),
		"--filter", "container="+id, "--filter", "event=die", "--format", "{{.TimeNano}}")
	if err != nil {
		return time.Time{}, err
	}
	ns, err := strconv.ParseInt(out, 10, 64)
	if err != nil {
		return time.Time{}, fmt.Errorf("read when the container %s ended: %w", id, err)
	}
	return time.Unix(0, ns), nil
}

// listeningSince returns when the only replica of api began to listen, from the first line of its log.
func (s *testbed) listeningSince(ctx context.Context) (time.Time, error) {
	id, err := s.project.Container(ctx, "api")
	if err != nil {
		return time.Time{}, err
	}
	out, err := harness.RunDocker(ctx, "logs", id)
	if err != nil {
		return time.Time{}, err
	}
	text, _, _ := strings.Cut(out, " ")
	t, err := time.Parse(time.RFC3339Nano, text)
	if err != nil {
		return time.Time{}, fmt.Errorf("read when the container %s began to listen: %w", id, err)
	}
	return t, nil
}
