package discovery

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/moby/moby/api/types/swarm"
	"github.com/moby/moby/client"
	"go.uber.org/zap"
)

// DefaultSwarmInterval is the default of Swarm.Interval.
const DefaultSwarmInterval = 500 * time.Millisecond

// swarmServicesInterval is how often services and nodes are listed. A task of a new service makes the source list them at once, and a manager
// takes 15 s anyway until it calls a node down.
const swarmServicesInterval = 2 * time.Second

// swarmTimeout limits a poll: another manager may answer.
const swarmTimeout = 2 * time.Second

// Swarm watches the tasks of a Docker Swarm through its managers. It polls them, because managers have no events of tasks on other nodes. A
// manager wants a task stopped some seconds before its container gets the signal; from then on, the task gets no new requests.
//
// A service without a task is known, so that requests wait for one. A task on a node that is down is unreachable.
//
// It needs GET /tasks, /services and /nodes of a manager.
type Swarm struct {
	DockerHost string                // unix:///var/run/docker.sock or tcp://docker-guard:2375, whose name may have the addresses of several managers
	Projects   []string              // the stacks that are served, or AnyProject; none: the edge's own
	Networks   []string              // the networks whose addresses are used; none: those that the edge is on
	Interval   time.Duration         // between polls; 0: DefaultSwarmInterval
	Subnets    func() []netip.Prefix // nil: LocalSubnets
	Names      Names                 // the names whose problems are logged; nil: all
	Requests   <-chan struct{}       // each value makes the source poll at once; may be nil
	Log        *zap.Logger           // nil: no log
}

// Run polls a manager until ctx ends.
func (s Swarm) Run(ctx context.Context, sink Sink) {
	if s.Interval <= 0 {
		s.Interval = DefaultSwarmInterval
	}
	if s.Subnets == nil {
		s.Subnets = LocalSubnets
	}
	if s.Log == nil {
		s.Log = zap.NewNop()
	}
	p := &swarmPoller{
		Swarm: s, sink: sink,
		publisher: newPublisher(sink, s.Names, s.Log),
		index:     newContainerIndex(scope{projects: s.Projects, networks: s.Networks}),
	}
	p.run(ctx)
}

// swarmPoller is a running Swarm source. It is not safe for concurrent use.
type swarmPoller struct {
	Swarm
	sink      Sink
	publisher *publisher
	index     *containerIndex // of tasks, and of one stopped member for each service

	services map[string]swarmService // by ID
	nodes    map[string]swarmNode    // by ID
	listedAt time.Time               // when services and nodes were listed
	isOnline bool
}

// run polls until ctx ends. After a failure it connects again, which may lead to another manager.
func (p *swarmPoller) run(ctx context.Context) {
	var api *client.Client
	closeClient := func() {}
	defer func() { closeClient() }()
	var lostAt time.Time // zero: the last poll succeeded
	delay := p.Interval
	for {
		var err error
		if api == nil {
			api, closeClient, err = newEngineClient(p.DockerHost)
		}
		if err == nil {
			err = p.poll(ctx, api)
		}
		if ctx.Err() != nil {
			return
		}
		if err == nil {
			delay, lostAt = p.Interval, time.Time{}
			p.setOnline()
		} else {
			closeClient() // the next manager gets new connections
			api, closeClient = nil, func() {}
			delay = min(max(2*delay, minReconnectDelay), maxReconnectDelay)
			if lostAt.IsZero() {
				lostAt = time.Now()
				p.Log.Warn("cannot list the tasks of the Swarm; using DNS and the last known tasks until that works again",
					zap.String("endpoint", p.DockerHost), zap.Error(err))
			}
			if !p.isOnline || time.Since(lostAt) > reconnectGrace {
				p.isOnline = false
				p.sink.SetOnline(false)
			}
		}
		select {
		case <-ctx.Done():
			return
		case <-p.Requests:
		case <-time.After(delay):
		}
	}
}

func (p *swarmPoller) setOnline() {
	if p.isOnline {
		return
	}
	p.isOnline = true
	p.sink.SetOnline(true)
	p.Log.Info("connected to a Swarm manager", zap.String("endpoint", p.DockerHost),
		zap.Strings("stacks", p.index.scope.served()), zap.Int("services", len(p.services)), zap.Int("nodes", len(p.nodes)))
}

// poll lists the tasks, and what else may have changed, and publishes it.
func (p *swarmPoller) poll(ctx context.Context, api *client.Client) error {
	ctx, cancel := context.WithTimeout(ctx, swarmTimeout)
	defer cancel()
	tasks, err := p.listTasks(ctx, api)
	if err != nil {
		return explainSwarmError(err)
	}
	hasNewService := slices.ContainsFunc(tasks, func(t swarm.Task) bool { _, isKnown := p.services[t.ServiceID]; return !isKnown })
	if hasNewService || time.Since(p.listedAt) >= swarmServicesInterval {
		if err := p.listServices(ctx, api); err != nil {
			return explainSwarmError(err)
		}
	}
	p.publisher.publish(p.index, p.index.applyAll(p.members(tasks), p.Subnets()))
	return nil
}

// listTasks lists the tasks that shall run, and those that shall not any more but may still do. Managers keep the tasks of the past, several
// for each present one, so that listing all would take much longer.
func (p *swarmPoller) listTasks(ctx context.Context, api *client.Client) ([]swarm.Task, error) {
	wanted, err := api.TaskList(ctx, client.TaskListOptions{Filters: client.Filters{}.Add("desired-state", string(swarm.TaskStateRunning))})
	if err != nil {
		return nil, fmt.Errorf("list tasks: %w", err)
	}
	left := maps.Clone(p.index.containers)
	for _, t := range wanted.Items {
		delete(left, t.ID)
	}
	var ids []string
	for id, c := range left {
		if c.isTask {
			ids = append(ids, id)
		}
	}
	if len(ids) == 0 {
		return wanted.Items, nil
	}
	slices.Sort(ids)
	unwanted, err := api.TaskList(ctx, client.TaskListOptions{Filters: client.Filters{}.Add("id", ids...)})
	if err != nil {
		return nil, fmt.Errorf("list tasks that end: %w", err)
	}
	return append(wanted.Items, unwanted.Items...), nil
}

// listServices lists services and nodes.
func (p *swarmPoller) listServices(ctx context.Context, api *client.Client) error {
	services, err := api.ServiceList(ctx, client.ServiceListOptions{})
	if err != nil {
		return fmt.Errorf("list services: %w", err)
	}
	nodes, err := api.NodeList(ctx, client.NodeListOptions{})
	if err != nil {
		return fmt.Errorf("list nodes: %w", err)
	}
	p.services, p.nodes = make(map[string]swarmService, len(services.Items)), make(map[string]swarmNode, len(nodes.Items))
	for _, s := range services.Items {
		p.services[s.ID] = newSwarmService(s)
	}
	for _, n := range nodes.Items {
		p.nodes[n.ID] = swarmNode{name: n.Description.Hostname, isDown: n.Status.State == swarm.NodeStateDown}
	}
	p.listedAt = time.Now()
	return nil
}

// explainSwarmError says what the operator must change, if that is known.
func explainSwarmError(err error) error {
	text := err.Error()
	switch {
	case strings.Contains(text, "not a swarm manager"), strings.Contains(text, http.StatusText(http.StatusServiceUnavailable)):
		return fmt.Errorf("%w: docker_host must lead to managers, so place docker-guard with the constraint node.role == manager", err)
	case strings.Contains(text, "does not forward"):
		return fmt.Errorf("%w: start the guard with --swarm", err)
	case errors.Is(err, errResponseTooLarge):
		return fmt.Errorf("%w: put the guard between the edge and the manager, which forwards less", err)
	}
	return err
}

var _ Source = Swarm{}
