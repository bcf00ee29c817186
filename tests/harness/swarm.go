package harness

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"time"
)

// SwarmHost is this machine's address on the network of a [Swarm].
const SwarmHost = "10.199.0.1"

// SwarmSocket is where the Docker Engine of a node listens, as its containers can mount it.
const SwarmSocket = "/run/docker/engine.sock"

// Swarm is a Docker Swarm of several Docker Engines, whose network is a bridge in a namespace of its own. The first node is the only manager.
type Swarm struct {
	Nodes []*SwarmNode

	lan string // the network namespace of the bridge
}

// SwarmNode is a node of a [Swarm].
type SwarmNode struct {
	*Engine
	Address string // at which this machine reaches its published ports

	lan  string
	port string // of the bridge
}

// StartSwarm starts a Swarm of so many nodes, which have images of the machine's Docker Engine. There is one at a time on a machine.
func StartSwarm(ctx context.Context, nodes int, images ...string) (s *Swarm, err error) {
	s = new(Swarm)
	defer func() {
		if err != nil {
			s, err = nil, errors.Join(err, s.Remove())
		}
	}()
	const lan = "er-lan"
	if err := runIP(ctx, "netns add "+lan); err != nil {
		return s, err
	}
	s.lan = lan
	if err := runIP(ctx,
		"-netns "+lan+" link add br0 type bridge", "-netns "+lan+" link set br0 up",
		"link add er-host type veth peer name host netns "+lan, "-netns "+lan+" link set host master br0 up",
		"address add "+SwarmHost+"/24 dev er-host", "link set er-host up",
	); err != nil {
		return s, err
	}
	for i := range nodes {
		e, err := newEngine(ctx, "--host", "unix://"+SwarmSocket, "--dns", "127.0.0.1")
		if err != nil {
			return s, err
		}
		e.node = fmt.Sprintf("node-%d", i+1)
		n := &SwarmNode{Engine: e, Address: fmt.Sprintf("10.199.0.%d", 11+i), lan: lan, port: fmt.Sprintf("node%d", i+1)}
		s.Nodes = append(s.Nodes, n)
		if err := runIP(ctx,
			"-netns "+lan+" link add "+n.port+" type veth peer name eth0 netns "+e.netns, "-netns "+lan+" link set "+n.port+" master br0 up",
			"-netns "+e.netns+" address add "+n.Address+"/24 dev eth0", "-netns "+e.netns+" link set eth0 up",
			"-netns "+e.netns+" route add default via "+SwarmHost,
		); err != nil {
			return s, err
		}
	}
	for _, step := range []func() error{
		func() error { return s.startEngines(ctx) },
		func() error { return s.join(ctx) },
		func() error { return s.Load(ctx, images...) },
	} {
		if err := step(); err != nil {
			return s, err
		}
	}
	return s, nil
}

// startEngines starts the Docker Engines.
func (s *Swarm) startEngines(ctx context.Context) error {
	return s.onEachNode(func(n *SwarmNode) error { return n.Start(ctx) })
}

// Load gives the nodes images of the machine's Docker Engine.
func (s *Swarm) Load(ctx context.Context, images ...string) error {
	tar := filepath.Join(s.Nodes[0].Dir, "images.tar")
	if _, err := RunDocker(ctx, append([]string{"save", "--output", tar}, images...)...); err != nil {
		return err
	}
	err := s.onEachNode(func(n *SwarmNode) error {
		_, err := n.Docker(ctx, "load", "--quiet", "--input", tar)
		return err
	})
	return errors.Join(err, os.Remove(tar))
}

// onEachNode does something on all nodes at the same time.
func (s *Swarm) onEachNode(do func(n *SwarmNode) error) error {
	errs := make([]error, len(s.Nodes))
	var wg sync.WaitGroup
	for i, n := range s.Nodes {
		wg.Go(func() { errs[i] = do(n) })
	}
	wg.Wait()
	return errors.Join(errs...)
}

// join makes a Swarm of the Docker Engines.
func (s *Swarm) join(ctx context.Context) error {
	manager := s.Manager()
	if _, err := manager.Docker(ctx, "swarm", "init", "--advertise-addr", manager.Address); err != nil {
		return err
	}
	token, err := manager.Docker(ctx, "swarm", "join-token", "--quiet", "worker")
	if err != nil {
		return err
	}
	for _, n := range s.Nodes[1:] {
		if _, err := n.Docker(ctx, "swarm", "join", "--token", token, "--advertise-addr", n.Address, manager.Address+":2377"); err != nil {
			return err
		}
	}
	return nil
}

// Manager returns the node that is the manager.
func (s *Swarm) Manager() *SwarmNode { return s.Nodes[0] }

// CutOff ends the node's traffic with all others, without a word to them.
func (n *SwarmNode) CutOff(ctx context.Context) error {
	return runIP(ctx, "-netns "+n.lan+" link set "+n.port+" down")
}

// Reconnect undoes CutOff.
func (n *SwarmNode) Reconnect(ctx context.Context) error {
	return runIP(ctx, "-netns "+n.lan+" link set "+n.port+" up")
}

// CutOverlay drops the packets of overlay networks that the node gets and sends (VXLAN), or undoes that. Swarm's own connections go on.
func (n *SwarmNode) CutOverlay(ctx context.Context, isCut bool) error {
	action := "--delete"
	if isCut {
		action = "--insert"
	}
	var errs []error
	for _, chain := range []string{"INPUT", "OUTPUT"} {
		cmd := exec.CommandContext(ctx, "nsenter", "--net=/run/netns/"+n.netns, "iptables", "--wait", action, chain, "--protocol", "udp", "--dport", "4789", "--jump", "DROP")
		_, err := run(cmd)
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

// EventuallyReplicas waits until a service has so many running tasks, and no other ones.
func (s *Swarm) EventuallyReplicas(ctx context.Context, service string, replicas int) error {
	var last string
	err := EventuallyContext(ctx, StateTimeout, fmt.Sprintf("%s has %d tasks", service, replicas), func() bool {
		out, err := s.Manager().Docker(ctx, "service", "ps", "--filter", "desired-state=running", "--format", "{{.CurrentState}}", service)
		last = out
		states := strings.Split(out, "\n")
		running := 0
		for _, state := range states {
			if strings.HasPrefix(state, "Running") {
				running++
			}
		}
		return err == nil && running == replicas && len(states) == replicas
	})
	if err != nil {
		return fmt.Errorf("%w; tasks: %s", err, last)
	}
	return nil
}

// Remove ends the Swarm, and removes what it has made.
func (s *Swarm) Remove() error {
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute) // a manager may be frozen
	defer cancel()
	var errs []error
	for _, n := range s.Nodes {
		if n.process != nil && !n.process.HasEnded() {
			_, _ = n.Docker(ctx, "swarm", "leave", "--force") // otherwise it would replace the containers that are removed
		}
	}
	for _, n := range s.Nodes {
		errs = append(errs, n.Remove())
	}
	if s.lan != "" {
		errs = append(errs, runIP(ctx, "netns delete "+s.lan)) // with all its links, and their other ends
	}
	return errors.Join(errs...)
}
