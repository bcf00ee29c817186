package discovery_test

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/moby/moby/api/types/swarm"

	"github.com/theworklabs/edge/internal/discovery"
	"github.com/theworklabs/edge/internal/discovery/sourcetest"
)

// fakeSwarm is a Swarm manager with the requests that the source needs: the service p_api of the stack p, and the edge's own.
type fakeSwarm struct {
	url string

	mu       sync.Mutex
	tasks    map[string]swarm.Task
	services map[string]swarm.Service
	nodes    map[string]swarm.NodeState
	down     bool
	status   int // of all responses; 0: 200
	message  string
	polls    int
	byID     []string // the last filter by ID
}

func newFakeSwarm(t *testing.T) *fakeSwarm {
	t.Helper()
	f := &fakeSwarm{
		tasks: make(map[string]swarm.Task), services: make(map[string]swarm.Service),
		nodes: map[string]swarm.NodeState{"n1": swarm.NodeStateReady},
	}
	mux := http.NewServeMux()
	mux.HandleFunc("/v1.41/tasks", f.serveTasks)
	mux.HandleFunc("/v1.41/services", f.serveServices)
	mux.HandleFunc("/v1.41/nodes", f.serveNodes)
	mux.HandleFunc("/_ping", func(out http.ResponseWriter, _ *http.Request) { out.Header().Set("Api-Version", "1.41") })
	server := httptest.NewServer(http.HandlerFunc(func(out http.ResponseWriter, r *http.Request) {
		f.mu.Lock()
		down, status, message := f.down, f.status, f.message
		f.mu.Unlock()
		switch {
		case down:
			panic(http.ErrAbortHandler)
		case status != 0:
			out.WriteHeader(status)
			_ = json.NewEncoder(out).Encode(map[string]string{"message": message})
			return
		}
		mux.ServeHTTP(out, r)
	}))
	t.Cleanup(server.Close)
	f.url = "tcp://" + server.Listener.Addr().String()
	f.addService("p", "api")
	f.addService("p", "edge")
	f.setTask("edge", "p_edge", "10.0.0.2", nil)
	return f
}

func (f *fakeSwarm) serveTasks(out http.ResponseWriter, r *http.Request) {
	var filters map[string]map[string]bool
	if err := json.Unmarshal([]byte(r.URL.Query().Get("filters")), &filters); err != nil {
		http.Error(out, err.Error(), http.StatusBadRequest)
		return
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if ids := filters["id"]; ids != nil {
		f.byID = nil
		for id := range ids {
			f.byID = append(f.byID, id)
		}
	} else {
		f.polls++
	}
	all := []swarm.Task{}
	for id, task := range f.tasks {
		if filters["id"][id] || filters["desired-state"][string(task.DesiredState)] {
			all = append(all, task)
		}
	}
	_ = json.NewEncoder(out).Encode(all)
}

func (f *fakeSwarm) serveServices(out http.ResponseWriter, _ *http.Request) {
	f.mu.Lock()
	defer f.mu.Unlock()
	all := []swarm.Service{}
	for _, s := range f.services {
		all = append(all, s)
	}
	_ = json.NewEncoder(out).Encode(all)
}

func (f *fakeSwarm) serveNodes(out http.ResponseWriter, _ *http.Request) {
	f.mu.Lock()
	defer f.mu.Unlock()
	all := []swarm.Node{}
	for id, state := range f.nodes {
		all = append(all, swarm.Node{ID: id, Description: swarm.NodeDescription{Hostname: "host-" + id}, Status: swarm.NodeStatus{State: state}})
	}
	_ = json.NewEncoder(out).Encode(all)
}

// addService adds a service of a stack.
func (f *fakeSwarm) addService(stack, name string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	s := swarm.Service{ID: "id of " + stack + "_" + name}
	s.Spec.Name, s.Spec.Labels = stack+"_"+name, map[string]string{"com.docker.stack.namespace": stack}
	s.Spec.TaskTemplate.Networks = []swarm.NetworkAttachmentConfig{{Target: "net", Aliases: []string{name}}}
	f.services[s.Spec.Name] = s
}

// setTask adds or replaces a running task.
func (f *fakeSwarm) setTask(id, service, addr string, change func(*swarm.Task)) {
	task := swarm.Task{
		ID: id, ServiceID: "id of " + service, Slot: 1, NodeID: "n1", DesiredState: swarm.TaskStateRunning,
		Status:              swarm.TaskStatus{State: swarm.TaskStateRunning},
		NetworksAttachments: []swarm.NetworkAttachment{{Addresses: []netip.Prefix{netip.PrefixFrom(netip.MustParseAddr(addr), 24)}}},
	}
	task.NetworksAttachments[0].Network.Spec.Name = "net"
	if change != nil {
		change(&task)
	}
	f.update(func() { f.tasks[id] = task })
}

func (f *fakeSwarm) update(change func()) {
	f.mu.Lock()
	defer f.mu.Unlock()
	change()
}

// updateTask changes the task of api with an address.
func (f *fakeSwarm) updateTask(addr string, change func(*swarm.Task)) {
	f.update(func() {
		task := f.tasks["t"+addr]
		change(&task)
		f.tasks["t"+addr] = task
	})
}

func (f *fakeSwarm) NewSource() discovery.Source {
	return discovery.Swarm{DockerHost: f.url, Subnets: subnets, Interval: 10 * time.Millisecond}
}

func (f *fakeSwarm) SetAddrs(addrs ...string) {
	f.update(func() {
		for id, task := range f.tasks {
			if addr := task.NetworksAttachments[0].Addresses[0].Addr().String(); id != "edge" && !slices.Contains(addrs, addr) {
				task.DesiredState, task.Status.State = swarm.TaskStateShutdown, swarm.TaskStateShutdown
				f.tasks[id] = task
			}
		}
	})
	for _, addr := range addrs {
		f.setTask("t"+addr, "p_api", addr, nil)
	}
}

func (f *fakeSwarm) StopAll() { f.SetAddrs() }

func (f *fakeSwarm) TellToStop(addr string) {
	f.updateTask(addr, func(t *swarm.Task) { t.DesiredState = swarm.TaskStateShutdown })
}

// CutOff does what a manager does 15 s after a node is gone.
func (f *fakeSwarm) CutOff(addr string) {
	f.updateTask(addr, func(t *swarm.Task) { t.NodeID, t.DesiredState = "n2", swarm.TaskStateShutdown })
	f.update(func() { f.nodes["n2"] = swarm.NodeStateDown })
}

func (f *fakeSwarm) GoDown()      { f.update(func() { f.down = true }) }
func (f *fakeSwarm) GoUp()        { f.update(func() { f.down = false }) }
func (*fakeSwarm) IsStatic() bool { return false }

var _ sourcetest.Orchestrator = (*fakeSwarm)(nil)
