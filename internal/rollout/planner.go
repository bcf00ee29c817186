package rollout

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"github.com/theworklabs/edge/internal/compose"
	"github.com/theworklabs/edge/internal/hint"
)

// planner plans the services of one rollout, one after the other, from snapshots. It asks nobody and changes nothing.
type planner struct {
	stack     *compose.Stack
	options   *Rollout
	completed map[string]bool // one-shot services that have completed in this rollout
	planned   map[string]bool // one-shot services that an earlier service of the plan runs
	fetched   map[string]bool // images that an earlier step of the plan pulls or builds
}

func (r *Rollout) newPlanner(s *stack, completed map[string]bool) *planner {
	return &planner{stack: s.Stack, options: r, completed: completed, planned: make(map[string]bool), fetched: make(map[string]bool)}
}

// plan returns the plan of one service. It returns an error if the service cannot be rolled out.
func (p *planner) plan(s snapshot) (*ServicePlan, error) {
	for _, c := range s.containers {
		if c.State.Status == "paused" {
			return nil, hint.New(fmt.Errorf("%s is paused", c.Name), "docker unpause "+c.Name)
		}
	}
	running := runningContainers(s.containers)
	plan := &ServicePlan{Service: s.service.Name, replicas: largestVersionGroup(running), configured: s.service.Replicas()}
	var err error
	if plan.conflicts, err = conflicts(p.stack, s.service, s.containers, 2*max(plan.replicas, 1)); err != nil {
		return nil, err
	}
	if s.edges != nil {
		plan.replicas, plan.conflicts = 1, edgeConflicts(p.stack, s.service)
	}
	if plan.images, err = p.planImages(s); err != nil {
		return nil, err
	}
	plan.getsImage = p.fetched[p.stack.ImageName(s.service)]
	if plan.strategy = p.strategy(s, plan); plan.strategy == upToDate {
		return plan, nil
	}
	plan.oneShots = p.planOneShots(s.service.Name)
	switch plan.strategy {
	case handOver:
		plan.steps = p.planHandOver(s)
	case replaceAtGate:
		plan.steps = []step{{action: recreateAll, containers: running, count: 1}, {action: awaitStandby, timeout: p.options.ReadyTimeout}}
	case startFirst:
		plan.steps = p.planStartFirst(s, plan.replicas)
	case stopFirst:
		plan.steps = []step{
			{action: drainOld, containers: running, timeout: cmp.Or(p.options.DrainTimeout, stopFirstDrainTimeout)},
			{action: recreateAll, containers: running, count: plan.replicas},
			p.awaitReady(),
		}
	default:
		plan.steps = []step{{action: recreateAll, containers: running, count: cmp.Or(plan.replicas, plan.configured)}}
		if s.hasRoute {
			plan.steps = append(plan.steps, p.awaitReady())
		} else {
			plan.steps = append(plan.steps, step{action: awaitRunning})
		}
	}
	return plan, nil
}

func (p *planner) awaitReady() step { return step{action: awaitReady, timeout: p.options.ReadyTimeout} }

// strategy returns how the service's containers can be replaced.
func (p *planner) strategy(s snapshot, plan *ServicePlan) strategy {
	switch {
	case s.edges != nil && len(s.containers) > 1: // an earlier rollout was killed
		return handOver
	case !p.options.Force && len(s.containers) > 0 && len(filterByVersion(runningContainers(s.containers), s.desired)) == len(s.containers):
		return upToDate
	case s.edges != nil && len(plan.conflicts) > 0:
		return replaceAtGate
	case s.edges != nil:
		return handOver
	case plan.replicas == 0:
		return startOnly
	case !s.hasRoute:
		return recreate
	case len(plan.conflicts) > 0:
		return stopFirst
	default:
		return startFirst
	}
}

// planImages returns the steps that get the images which Compose needs, as `docker compose up` would: they pull an image that is
// missing or always pulled, and build one that is missing and can be built.
func (p *planner) planImages(s snapshot) (steps []step, err error) {
	for _, name := range append(oneShotDependencies(p.stack, s.service.Name), s.service.Name) {
		service := p.stack.Services[name]
		image := p.stack.ImageName(service)
		isLocal := s.imageIDs[image] != "" || p.fetched[image]
		policy := cmp.Or(p.options.Pull, service.PullPolicy)
		switch {
		case service.HasBuild() && (p.options.Build || policy == "build" || !isLocal):
			steps = append(steps, step{action: buildImage, service: name, image: image, isLocal: isLocal})
		case policy == "never" && !isLocal:
			return nil, hint.New(fmt.Errorf("image %s is not on this machine, and is not to be pulled", image), "docker compose pull "+name)
		case policy == "never", isLocal && slices.Contains([]string{"", "missing", "if_not_present"}, policy):
			continue
		default: // always, or daily, weekly and every_…, which Compose decides by the image's age
			steps = append(steps, step{action: pullImage, service: name, image: image, isLocal: isLocal})
		}
		p.fetched[image] = true
	}
	return steps, nil
}

// planOneShots returns the steps that run what the service depends on, without those that an earlier service runs.
func (p *planner) planOneShots(service string) (steps []step) {
	if p.options.SkipOneShots {
		return nil
	}
	for _, name := range oneShotDependencies(p.stack, service) {
		if !p.completed[name] && !p.planned[name] {
			p.planned[name] = true
			steps = append(steps, step{action: runOneShot, service: name})
		}
	}
	return steps
}

// planStartFirst returns the steps that start new containers before the old ones are drained and removed. Containers of the new
// version, which an earlier rollout left when it was killed, stay.
func (p *planner) planStartFirst(s snapshot, replicas int) (steps []step) {
	running := runningContainers(s.containers)
	var reused []container
	if !p.options.Force {
		reused = filterByVersion(running, s.desired)
	}
	old := difference(running, reused)
	if len(reused) > 0 {
		steps = append(steps, step{action: keepReused, containers: reused})
	}
	if stopped := difference(s.containers, running); len(stopped) > 0 {
		steps = append(steps, step{action: removeStopped, containers: stopped})
	}
	if missing := replicas - len(reused); missing > 0 {
		steps = append(steps, step{action: startNew, containers: running, count: missing})
	}
	steps = append(steps, p.awaitReady())
	if len(old) > 0 {
		steps = append(steps,
			step{action: drainOld, containers: old, timeout: p.options.drainTimeout(), sessionGrace: p.options.SessionGrace},
			step{action: removeOld, containers: old})
	}
	return steps
}

// drainTimeout returns how long requests and sockets may take to end while other containers get the new requests.
func (r *Rollout) drainTimeout() time.Duration { return cmp.Or(r.DrainTimeout, time.Minute) }
