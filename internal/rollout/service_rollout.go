package rollout

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/theworklabs/edge/internal/compose"
	"github.com/theworklabs/edge/internal/hint"
)

// serviceRollout executes the plan of one service.
type serviceRollout struct {
	*stack
	progress
	rollout           *Rollout
	service           *compose.Service
	completedOneShots map[string]bool      // by name; shared by the services of a rollout
	hasRoute          bool                 // the edge has a route to the service
	isEdge            bool                 // the service is the edge
	edges             map[string]edgeState // of the edge, when the plan was made
	oldGate           bool                 // the gate of the edge differs from the compose file

	plan           *ServicePlan
	existing       []container // the containers when the plan was made
	newContainers  []container // those of the new version, once they are started
	sharedAt       time.Time   // when other edges drain what the edge was asked to, too; zero if there can be none
	isNotShared    bool        // it was printed that they were not notified
	drainRequested bool        // the edge may have received the command to drain the old containers; of the edge: it may have left
}

// planFirst asks the edge for its routes to the service, and plans the rollout.
func (t *serviceRollout) planFirst(ctx context.Context, p *planner) error {
	if t.isEdge {
		return errors.Join(t.planWith(ctx, p), t.compareGate(ctx))
	}
	routes, err := t.routes(ctx)
	if err != nil {
		return hint.New(err, t.edge.command("status"))
	}
	t.hasRoute = len(t.routesTo(t.service, routes)) > 0
	return t.planWith(ctx, p)
}

// planAgain makes the plan from what Docker says now.
func (t *serviceRollout) planAgain(ctx context.Context) error {
	return t.planWith(ctx, t.rollout.newPlanner(t.stack, t.completedOneShots))
}

func (t *serviceRollout) planWith(ctx context.Context, p *planner) error {
	s, err := t.readSnapshot(ctx, t.service, t.hasRoute)
	if err != nil {
		return err
	}
	if t.isEdge {
		if s.edges, err = t.edgeStates(ctx, runningContainers(s.containers)); err != nil {
			return err
		}
	}
	t.existing, t.edges = s.containers, s.edges
	t.plan, err = p.plan(s)
	return err
}

// announce prints why the rollout is not start-first, and a difference between the containers that run and the compose file.
func (t *serviceRollout) announce() {
	replicas := t.plan.replicas
	switch {
	case replicas == 0:
		return
	case t.plan.strategy == replaceAtGate:
		t.printLine("two can't run at once: %s", strings.Join(t.plan.conflicts, "; "))
		t.printLine("so it is stopped and started, and connections wait at the gate meanwhile")
	case t.isEdge:
		if t.oldGate {
			t.printLine("%s is not what the file says; only `docker compose up --detach %[1]s` replaces it, which closes the ports meanwhile", t.Gate(t.service).Name)
		}
	case !t.hasRoute:
		t.printLine("the edge has no route to it: its containers are replaced by Compose, without holding anything")
	case len(t.plan.conflicts) > 0:
		t.printLine("two can't run at once: %s", strings.Join(t.plan.conflicts, "; "))
		t.printLine("so it is drained, stopped and started, and the edge holds requests meanwhile")
	}
	if replicas != t.plan.configured {
		t.printLine("%d run and stay %d; the file says %d, to which `docker compose up` would change it", replicas, replicas, t.plan.configured)
	}
}

// run executes the plan.
func (t *serviceRollout) run(ctx context.Context) error {
	start := time.Now()
	if err := t.prepare(ctx); err != nil {
		return errorOrInterrupted(ctx, err)
	}
	if t.plan.strategy == upToDate {
		if t.rollout.CheckUpToDate && t.hasRoute {
			if err := t.awaitReady(ctx, t.existing); isUnready(err) {
				return &UnreadyError{t.service.Name, err}
			} else if err != nil {
				return errorOrInterrupted(ctx, err)
			}
		}
		t.printLine("nothing to do: what runs is what the file says; --force replaces it anyway")
		return nil
	}
	if err := t.replaceContainers(ctx); err != nil {
		return err
	}
	t.printLine("done in %.1fs", time.Since(start).Seconds())
	return nil
}

// prepare gets the images and runs the one-shot services. It plans again after both: a pulled image can be a new version, and
// containers can change while a one-shot service runs. Old containers serve meanwhile.
func (t *serviceRollout) prepare(ctx context.Context) error {
	if err := t.fetchImages(ctx, t.plan.images); err != nil {
		return err
	}
	// An image that was there when the rollout began can be missing now: other services were rolled out since.
	if missing := missingImages(t.plan.images); len(missing) > 0 {
		if err := t.fetchImages(ctx, missing); err != nil {
			return err
		}
	}
	if t.plan.strategy == upToDate {
		return nil
	}
	if err := t.dryRun(ctx); err != nil {
		return err
	}
	for _, s := range t.plan.oneShots {
		if err := t.runOneShot(ctx, s.service); err != nil {
			return err
		}
		t.completedOneShots[s.service] = true
	}
	return t.planAgain(ctx)
}

// fetchImages gets images, and plans again.
func (t *serviceRollout) fetchImages(ctx context.Context, steps []step) error {
	for _, s := range steps {
		if err := t.fetchImage(ctx, s); err != nil {
			return err
		}
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	return t.planAgain(ctx)
}

// missingImages returns the steps that get an image which this machine does not have.
func missingImages(steps []step) []step {
	return slices.DeleteFunc(slices.Clone(steps), func(s step) bool { return s.isLocal })
}

// fetchImage has Compose pull or build an image.
func (t *serviceRollout) fetchImage(ctx context.Context, s step) error {
	command := "pull"
	if s.action == buildImage {
		command = "build"
	}
	t.startStep("%s of %s", command, s.image)
	if _, err := t.runCompose(ctx, command, s.service); err != nil {
		if s.isLocal && s.action == pullImage {
			return hint.New(err, "--no-pull takes the image that is here")
		}
		return err
	}
	t.finishStep("%s of %s", command, s.image)
	return nil
}

// dryRun returns an error if Compose would do more than start containers.
func (t *serviceRollout) dryRun(ctx context.Context) error {
	for _, s := range t.plan.oneShots {
		if err := t.dryRunUp(ctx, s.service); err != nil {
			return err
		}
	}
	return t.dryRunUp(ctx, t.service.Name, t.scaleFlags(len(t.existing))...)
}

// replaceContainers executes the steps that replace the containers.
func (t *serviceRollout) replaceContainers(ctx context.Context) error {
	for _, s := range t.plan.steps {
		err := error(errInterrupted)
		if ctx.Err() == nil {
			err = t.execute(ctx, s)
		}
		if err != nil {
			return t.recoverFrom(ctx, s, err)
		}
	}
	if ctx.Err() != nil && (t.plan.strategy == startFirst || t.plan.strategy == handOver) {
		t.printLine("interrupted too late to go back: it is finished")
	}
	return nil
}

// execute executes one step. A step that would leave the service broken if it were interrupted is not bound to ctx.
func (t *serviceRollout) execute(ctx context.Context, s step) error {
	switch s.action {
	case keepReused:
		return t.keepReused(ctx, s.containers)
	case removeStopped:
		return t.removeStopped(ctx, s.containers)
	case startNew:
		return t.startNew(ctx, s)
	case drainOld:
		return t.drainOld(ctx, s)
	case removeOld:
		return t.removeOld(context.WithoutCancel(ctx), s.containers)
	case recreateAll:
		return t.recreate(context.WithoutCancel(ctx))
	case awaitReady:
		return t.awaitNewReady(ctx)
	case awaitRunning:
		return t.awaitNewRunning(ctx)
	case awaitStandby:
		return t.awaitStandby(ctx, s)
	case takeOver:
		return t.takeOver(context.WithoutCancel(ctx), s.containers)
	case awaitLeft:
		return t.awaitLeft(ctx, s)
	default:
		return fmt.Errorf("step %q replaces no container", s) // a defect of the planner
	}
}

// recoverFrom brings the service back to its old containers after a step has failed, as far as the strategy can, and returns the
// error with the resulting state.
func (t *serviceRollout) recoverFrom(ctx context.Context, failed step, cause error) error {
	switch t.plan.strategy {
	case startFirst:
		if failed.action == removeOld && !errors.Is(cause, errInterrupted) {
			return cause
		}
		return t.rollBack(ctx, cause)
	case handOver:
		if failed.action == removeOld && !errors.Is(cause, errInterrupted) {
			return cause
		}
		return t.returnToOldEdge(ctx, cause)
	case stopFirst:
		return t.recoverStopFirst(ctx, failed, cause)
	case replaceAtGate:
		return hint.New(fmt.Errorf("%w; there is no old edge to go back to, and connections wait at the gate", cause), "docker compose logs "+t.service.Name)
	default:
		return cause
	}
}

// recreate has Compose stop the old containers and start as many new ones.
func (t *serviceRollout) recreate(ctx context.Context) error {
	switch t.plan.strategy {
	case startOnly:
		t.printLine("no container of it runs")
	case recreate:
		t.printLine("replacing")
	}
	var flags []string
	t.startStep("stopping and starting")
	if t.rollout.Force {
		flags = append(flags, "--force-recreate")
	}
	flags = append(flags, t.scaleFlags(t.plan.replicas)...)
	flags = append(flags, t.stopFlags()...)
	if err := t.composeUp(ctx, t.service.Name, flags...); err != nil {
		return err
	}
	t.finishStep("Compose has stopped the old and started the new")
	return nil
}

// scaleFlags returns the flags of Compose that set the number of containers, whatever the file says; none for 0.
func (t *serviceRollout) scaleFlags(n int) []string {
	if n == 0 {
		return nil
	}
	return []string{"--scale", t.service.Name + "=" + strconv.Itoa(n)}
}

// stopFlags returns the flags of docker that bound the time a container may take to stop.
func (t *serviceRollout) stopFlags() []string {
	if t.rollout.StopTimeout == 0 {
		return nil
	}
	return []string{"-t", seconds(t.rollout.StopTimeout)}
}

// seconds returns a duration in whole seconds, rounded up, as docker accepts it.
func seconds(d time.Duration) string {
	return strconv.Itoa(int((d + time.Second - 1) / time.Second))
}
