package deploy

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/theworklabs/edge/internal/hint"
	"github.com/theworklabs/edge/internal/traffic"
)

const (
	// baselineTime is how far back the errors of the version before are counted.
	baselineTime = 10 * time.Minute
	// minErrors is how many failed requests are no accident.
	minErrors = 10
	// minBaseline is how many requests tell the error rate of the version before, as they do not after a restart of the edge.
	minBaseline = 20
	// minExcess is by how much the error rate has to rise: one of a hundred requests.
	minExcess = 0.01
)

// figures are requests, and how many of them got a status from 500 on. Answers of a maintenance do not count as errors.
type figures struct{ requests, errors uint64 }

// errorRate is the part of the requests that failed.
func (f figures) errorRate() float64 {
	if f.requests == 0 {
		return 0
	}
	return float64(f.errors) / float64(f.requests)
}

// String returns the figures for people.
func (f figures) String() string {
	return fmt.Sprintf("%d of %d requests failed", f.errors, f.requests)
}

// exceeds reports whether a new version has more errors than the one before: at least ten, and an error rate that has risen by one of a hundred requests and is twice as high as before,
// or leaves less than half of what succeeded before. If it is not known how the version before did, half of the requests have to fail.
func (f figures) exceeds(before figures) bool {
	rate, old := f.errorRate(), before.errorRate()
	if before.requests < minBaseline {
		return f.errors >= minErrors && rate >= .5
	}
	return f.errors >= minErrors && rate >= old+minExcess && (rate >= 2*old || 1-rate <= (1-old)/2)
}

// routeFigures are the figures of each route to the services of a deployment.
type routeFigures map[string]figures

// sum adds the intervals of each route that begin between two times.
func sum(routes map[string][]traffic.Point, from, to time.Time) routeFigures {
	all := make(routeFigures)
	for route, points := range routes {
		var f figures
		for _, p := range points {
			if !p.Start.Before(from) && p.Start.Before(to) {
				f.requests += uint64(p.Requests)
				f.errors += uint64(p.Errors - p.Maintenance)
			}
		}
		all[route] = f
	}
	return all
}

// String returns the figures for people.
func (f routeFigures) String() string {
	var texts []string
	for _, route := range slices.Sorted(maps.Keys(f)) {
		texts = append(texts, route+": "+f[route].String())
	}
	return strings.Join(texts, "; ")
}

// worse returns a route whose errors exceed those before; "" if there is none.
func (f routeFigures) worse(before routeFigures) string {
	for _, route := range slices.Sorted(maps.Keys(f)) {
		if f[route].exceeds(before[route]) {
			return route
		}
	}
	return ""
}

// readBaseline returns what the routes had in the last minutes, since the last deployment. It returns false if nothing is to be watched, or nothing can be.
func (r *run) readBaseline(ctx context.Context) (routeFigures, bool) {
	if r.WatchTime <= 0 {
		return nil, false
	}
	routes, err := r.NewRollout(r.presentProject(), RolloutOptions{Services: r.services()}).Traffic(ctx)
	if err != nil {
		r.print("warning: the errors are not watched, because those of the version before are not known: %v", err)
		return nil, false
	}
	if len(routes) == 0 {
		r.print("warning: the errors are not watched: the edge has no route to %s", strings.Join(r.services(), ", "))
		return nil, false
	}
	now := time.Now()
	from := now.Add(-baselineTime)
	for _, name := range r.services() {
		for _, d := range r.pins.Deployments[name] {
			if d.Time.After(from) {
				from = d.Time
			}
		}
	}
	return sum(routes, from, now), true
}

// watch compares the errors after a deployment with those before it, and undoes it if a route has more.
func (r *run) watch(ctx context.Context, all []change, before routeFigures) error {
	r.print("watching the errors for %v; before: %v", r.WatchTime, before)
	begin := time.Now()
	var after routeFigures
	for {
		wait := min(traffic.HistoryInterval, time.Until(begin.Add(r.WatchTime)))
		if wait <= 0 {
			r.print("after: %v", after)
			return nil
		}
		select {
		case <-ctx.Done():
			r.print("the errors are no longer watched, and the new version stays")
			return nil
		case <-time.After(wait):
		}
		routes, err := r.NewRollout(r.project, RolloutOptions{Services: r.services()}).Traffic(ctx)
		if err != nil { // the edge may be restarting
			if ctx.Err() == nil {
				r.print("warning: %v", err)
			}
			continue
		}
		after = sum(routes, begin, time.Now())
		if route := after.worse(before); route != "" {
			return r.endBad(context.WithoutCancel(ctx), all, fmt.Sprintf("%s: %v; before: %v", route, after[route], before[route]))
		}
	}
}

// endBad undoes a deployment with more errors, unless a migration has run with it.
func (r *run) endBad(ctx context.Context, all []change, reason string) error {
	r.print("the new version has more errors: %s", reason)
	ran, err := r.oneShotsThatRan(ctx)
	ran, err = slices.Concat(r.ran, ran, r.migratedThemselves(all)), errors.Join(r.ranErr, err)
	slices.Sort(ran)
	switch {
	case err != nil:
	case len(ran) > 0:
		err = fmt.Errorf("a migration has run: %s", strings.Join(slices.Compact(ran), ", "))
	default:
		var back []change
		begin := all[0].deployment.Time
		if back, err = r.changesBack(ctx, begin); err == nil && len(back) == 0 {
			err = errors.New("there is nothing to undo, since the same image ran before")
		}
		if err == nil {
			err = r.undo(ctx, begin, back)
		}
		if err == nil {
			return fmt.Errorf("%w: %s", ErrUndone, reason)
		}
	}
	var service string
	for _, c := range all {
		if r.isOneShot(c.service) {
			continue
		}
		service = c.service
		if d := r.pins.find(c.service, c.deployment.Time); d != nil {
			d.Result, d.Error = Bad, literal(reason)
		}
		r.notify(ctx, c.service, Bad, c.deployment)
	}
	if writeErr := r.pins.write(r.project.Directory); writeErr != nil {
		err = errors.Join(err, writeErr)
	}
	return hint.New(fmt.Errorf("%w, but it has more errors (%s): %w", ErrNotUndone, reason, err), "if the version before works with the data as they are now: edge deploy --undo "+service)
}
