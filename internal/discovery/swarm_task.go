package discovery

import (
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"github.com/moby/moby/api/types/swarm"
)

// labelStack is a service's label with its stack, which the edge treats as Compose's projects.
const labelStack = "com.docker.stack.namespace"

// swarmService is what discovery needs of a service.
type swarmService struct {
	stack string   // "" if no stack has it
	name  string   // within the stack
	names []string // to which its tasks answer, in lower case
}

func newSwarmService(s swarm.Service) swarmService {
	stack := s.Spec.Labels[labelStack]
	one := swarmService{stack: stack, name: strings.TrimPrefix(s.Spec.Name, stack+"_")}
	names := []string{one.name, s.Spec.Name}
	for _, network := range s.Spec.TaskTemplate.Networks {
		names = append(names, network.Aliases...)
	}
	for i, name := range names {
		names[i] = strings.ToLower(name)
	}
	slices.Sort(names)
	one.names = slices.Compact(names)
	if stack != "" {
		for _, name := range one.names {
			one.names = append(one.names, strings.ToLower(stack)+"/"+name)
		}
	}
	return one
}

// swarmNode is what discovery needs of a node.
type swarmNode struct {
	name   string
	isDown bool
}

// members returns the tasks that have not ended, and for each service a stopped member that makes it known.
func (p *swarmPoller) members(tasks []swarm.Task) []containerInfo {
	all := make([]containerInfo, 0, len(tasks)+len(p.services))
	for id, s := range p.services {
		all = append(all, containerInfo{id: "service " + id, project: s.stack, service: strings.ToLower(s.name), names: s.names})
	}
	for _, t := range tasks {
		if s, isKnown := p.services[t.ServiceID]; isKnown && !hasEnded(t.Status.State) {
			all = append(all, p.newTaskInfo(t, s))
		}
	}
	return all
}

// hasEnded reports whether a task in this state does not run any more.
func hasEnded(state swarm.TaskState) bool {
	switch state {
	case swarm.TaskStateComplete, swarm.TaskStateShutdown, swarm.TaskStateFailed, swarm.TaskStateRejected, swarm.TaskStateRemove, swarm.TaskStateOrphaned:
		return true
	}
	return false
}

// newTaskInfo reads a task of a service.
func (p *swarmPoller) newTaskInfo(t swarm.Task, s swarmService) containerInfo {
	node := p.nodes[t.NodeID]
	number := node.name // of a service with a task on each node
	if t.Slot > 0 {
		number = strconv.Itoa(t.Slot)
	}
	c := containerInfo{
		id: t.ID, isTask: true, project: s.stack, service: strings.ToLower(s.name), names: s.names,
		displayName: strings.TrimPrefix(s.stack+"/"+s.name+"/"+number, "/"),
		running:     t.Status.State == swarm.TaskStateRunning,
		isStopping:  t.DesiredState != swarm.TaskStateRunning,
		networks:    make(map[string][]netip.Addr),
	}
	if node.isDown {
		c.unreachableReason = "the node " + node.name + " is down"
	}
	for _, a := range t.NetworksAttachments {
		for _, address := range a.Addresses {
			c.networks[a.Network.Spec.Name] = append(c.networks[a.Network.Spec.Name], address.Addr())
		}
	}
	return c
}
