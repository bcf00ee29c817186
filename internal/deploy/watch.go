package deploy

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/theworklabs/edge/internal/compose"
	"github.com/theworklabs/edge/internal/traffic"
)

const (
	// baselineTime is how far back the errors of the version before are counted.
	baselineTime = 10 * time.Minute
	// minErrors is how many failed requests are no accident.
	minErrors = 10
	// minExcess is by how much the part of the requests that fail has to rise: one of a hundred.
	minExcess = 0.01
)

// figures are requests, and how many of them got a status from 500 on.
type figures struct{ requests, errors uint64 }

func (f figures) rate() float64 {
	if f.requests == 0 {
		return 0
	}
	return float64(f.errors) / float64(f.requests)
}

// String returns the figures for people.
func (f figures) String() string {
	return fmt.Sprintf("%d of %d requests failed", f.errors, f.requests)
}

// sum adds the intervals that begin between two times.
func sum(points []traffic.Point, from, to time.Time) (f figures) {
	for _, p := range points {
		if !p.Start.Before(from) && p.Start.Before(to) {
			f.requests += uint64(p.Requests)
			f.errors += uint64(p.Errors)
		}
	}
	return f
}

// exceeds reports whether a new version has more errors than the one before: at least ten, a part of the requests that is twice as large as before, and larger by one of a
// hundred.
func (f figures) exceeds(before figures) bool {
	return f.errors >= minErrors && f.rate() >= 2*before.rate() && f.rate() >= before.rate()+minExcess
}

// traffic returns what the services had in the last minutes.
func (r *run) traffic(ctx context.Context) figures {
	if r.WatchTime <= 0 {
		return figures{}
	}
	points, err := r.NewRollout(r.presentProject(), r.services()).Traffic(ctx)
	if err != nil {
		r.print("warning: the errors before the deployment are not known: %v", err)
	}
	now := time.Now()
	return sum(points, now.Add(-baselineTime), now)
}

func (r *run) services() (names []string) {
	for _, i := range r.Images {
		names = append(names, i.Service)
	}
	return names
}

// watch compares the errors after a deployment with those before it, and undoes it if there are more.
func (r *run) watch(ctx context.Context, all []change, before figures, imagesBefore map[string]string) error {
	r.print("watching the errors for %v; before: %v", r.WatchTime, before)
	begin := time.Now()
	var after figures
	for {
		wait := min(traffic.HistoryInterval, time.Until(begin.Add(r.WatchTime)))
		if wait <= 0 {
			r.print("after: %v", after)
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("the errors are no longer watched, and the new version stays: %w", context.Cause(ctx))
		case <-time.After(wait):
		}
		points, err := r.NewRollout(r.project, r.services()).Traffic(ctx)
		if err != nil { // the edge may be restarting
			r.print("warning: %v", err)
			continue
		}
		if after = sum(points, begin, time.Now()); after.exceeds(before) {
			return r.endBad(ctx, all, before, after, imagesBefore)
		}
	}
}

// endBad undoes a deployment with more errors, unless a migration has run with it.
func (r *run) endBad(ctx context.Context, all []change, before, after figures, imagesBefore map[string]string) error {
	r.print("the new version has more errors: %v; before: %v", after, before)
	images, err := r.oneShotImages(ctx)
	if err != nil {
		return errors.Join(ErrNotUndone, err)
	}
	for name, image := range images {
		if image != imagesBefore[name] {
			for _, c := range all {
				r.mark(ctx, c.service, Bad, c.deployment)
			}
			return fmt.Errorf("%w: %s", ErrNotUndone, name)
		}
	}
	if err := r.undo(context.WithoutCancel(ctx), all[0].service); err != nil {
		return errors.Join(errors.New("the new version has more errors than the one before"), fmt.Errorf("undo it: %w", err))
	}
	return fmt.Errorf("%w: %v; before: %v", ErrUndone, after, before)
}

// oneShotImages returns the images of the services that have to complete before those that are deployed, such as migrations, by the containers that have run.
func (r *run) oneShotImages(ctx context.Context) (map[string]string, error) {
	images := make(map[string]string)
	var add func(service string) error
	add = func(service string) error {
		s := r.stack.Services[service]
		if s == nil {
			return nil
		}
		for name, dependency := range s.DependsOn {
			if _, isKnown := images[name]; isKnown || !dependency.IsOneShot() {
				continue
			}
			containers, err := compose.Containers(ctx, r.Docker, r.stack.Name, name)
			if err != nil {
				return err
			}
			images[name] = ""
			for _, c := range containers {
				images[name] = c.Image
			}
			if err := add(name); err != nil {
				return err
			}
		}
		return nil
	}
	for _, name := range r.services() {
		if err := add(name); err != nil {
			return nil, err
		}
	}
	return images, nil
}

// Mark notifies the edge of a deployment, for its metrics, its log and the status page.
type Mark struct {
	Project string `json:"project"`
	Service string `json:"service"` // of Compose
	Image   string `json:"image"`
	By      string `json:"by,omitempty"`
	Result  Result `json:"result"`
}

// Bad says that a version has more errors than the one before, and stays, because a migration has run with it.
const Bad Result = "bad"

// mark notifies the edge of a deployment. That it cannot is no failure of the deployment.
func (r *run) mark(ctx context.Context, service string, result Result, d Deployment) {
	image := d.Image
	if image == "" {
		image = "that of the compose file"
	}
	text, err := json.Marshal(Mark{r.stack.Name, service, image, d.By, result})
	if err == nil {
		err = r.NewRollout(r.project, []string{service}).RunInEdge(context.WithoutCancel(ctx), "deploy", "report", string(text))
	}
	if err != nil {
		r.print("warning: the edge was not notified: %s", firstLine(err))
	}
}
