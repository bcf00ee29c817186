package discovery_test

import (
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/moby/moby/api/types/swarm"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"github.com/theworklabs/edge/internal/discovery"
	"github.com/theworklabs/edge/internal/registry"
)

// phasesOf returns the phases of the tasks with a name, sorted; the member that makes a service known is left out.
func phasesOf(r *recordingSink, name string) []registry.Phase {
	var all []registry.Phase
	for _, m := range r.names[name] {
		if !strings.HasPrefix(m.ID, "service ") {
			all = append(all, m.Phase)
		}
	}
	slices.Sort(all)
	return all
}

func TestSwarmTasksAnswerToTheNamesOfTheirService(t *testing.T) {
	f := newFakeSwarm(t)
	f.update(func() {
		s := f.services["p_api"]
		s.Spec.TaskTemplate.Networks = append(s.Spec.TaskTemplate.Networks, swarm.NetworkAttachmentConfig{Aliases: []string{"Accounting"}})
		f.services["p_api"] = s
	})
	f.setAddrs("10.0.0.7")
	r := run(t, f)
	for _, name := range []string{"api", "p_api", "accounting", "p/api", "p/p_api", "p/accounting"} {
		r.eventually(t, name, func() bool { return slices.Equal(phasesOf(r, name), []registry.Phase{registry.Running}) })
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	i := slices.IndexFunc(r.names["api"], func(m registry.Member) bool { return m.Phase == registry.Running })
	if m := r.names["api"][i]; m.Name != "p/api/1" || m.Project != "p" || m.ID != "t10.0.0.7" {
		t.Errorf("the member is %+v", m)
	}
}

func TestSwarmTaskOfEachNodeIsNamedByIt(t *testing.T) {
	f := newFakeSwarm(t)
	f.setTask("t1", "p_api", "10.0.0.7", func(task *swarm.Task) { task.Slot = 0 })
	r := run(t, f)
	r.eventually(t, "name with the node", func() bool {
		return slices.ContainsFunc(r.names["api"], func(m registry.Member) bool { return m.Name == "p/api/host-n1" })
	})
}

func TestSwarmTaskStates(t *testing.T) {
	for state, want := range map[swarm.TaskState][]registry.Phase{
		swarm.TaskStatePending: {registry.Stopped}, swarm.TaskStatePreparing: {registry.Stopped}, swarm.TaskStateStarting: {registry.Stopped},
		swarm.TaskStateRunning: {registry.Running}, swarm.TaskStateFailed: nil, swarm.TaskStateComplete: nil, swarm.TaskStateRejected: nil,
	} {
		f := newFakeSwarm(t)
		f.setTask("t1", "p_api", "10.0.0.7", func(task *swarm.Task) { task.Status.State = state })
		r := run(t, f)
		r.eventually(t, string(state), func() bool { return r.online && slices.Equal(phasesOf(r, "api"), want) })
	}
}

func TestASwarmTaskThatEndsIsAskedForUntilItHasEnded(t *testing.T) {
	f := newFakeSwarm(t)
	f.setAddrs("10.0.0.7")
	r := run(t, f)
	r.eventuallyServes(t, "10.0.0.7")
	f.tellToStop("10.0.0.7")
	r.eventually(t, "terminating task", func() bool { return slices.Equal(phasesOf(r, "api"), []registry.Phase{registry.Terminating}) })
	f.update(func() {
		if !slices.Equal(f.byID, []string{"t10.0.0.7"}) {
			t.Errorf("the source asked for the tasks %q by ID", f.byID)
		}
	})
	f.stopAll()
	r.eventually(t, "no task", func() bool { return phasesOf(r, "api") == nil })
	polls := 0
	f.update(func() { f.byID, polls = nil, f.polls })
	r.eventually(t, "", func() bool { return true })
	for done := false; !done; time.Sleep(time.Millisecond) {
		f.update(func() { done = f.polls > polls+2 })
	}
	f.update(func() {
		if f.byID != nil {
			t.Errorf("the source still asks for %q", f.byID)
		}
	})
}

func TestASwarmServiceThatIsRemovedIsNotKnown(t *testing.T) {
	f := newFakeSwarm(t)
	r := run(t, f)
	r.eventually(t, "api", func() bool { return len(r.names["api"]) == 1 && r.online })
	f.update(func() { delete(f.services, "p_api") })
	r.eventually(t, "no api", func() bool { return len(r.names["api"]) == 0 })
}

func TestANewSwarmServiceIsSeenWithItsFirstTask(t *testing.T) {
	f := newFakeSwarm(t)
	r := run(t, f)
	r.eventually(t, "contact", func() bool { return r.online })
	f.addService("p", "web")
	f.setTask("w1", "p_web", "10.0.0.9", nil)
	start := time.Now()
	r.eventually(t, "web", func() bool { return slices.Equal(phasesOf(r, "web"), []registry.Phase{registry.Running}) })
	if took := time.Since(start); took > time.Second {
		t.Errorf("a task of a new service was seen after %s", took)
	}
}

func TestOtherStacksAreNotServed(t *testing.T) {
	f := newFakeSwarm(t)
	f.addService("q", "web")
	f.setTask("w1", "q_web", "10.0.0.9", nil)
	r := run(t, f)
	r.eventually(t, "problem", func() bool { return strings.Contains(r.problems["web"], "project q has one") })
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.names["web"]) > 0 || len(r.names["q/web"]) != 2 {
		t.Errorf("web has the members %v, and q/web %v", r.names["web"], r.names["q/web"])
	}
}

func TestSwarmErrorsSayWhatToDo(t *testing.T) {
	for want, answer := range map[string]struct {
		status  int
		message string
	}{
		"node.role == manager":  {http.StatusServiceUnavailable, "This node is not a swarm manager. Worker nodes can't be used to view or modify cluster state."},
		"guard with --swarm":    {http.StatusForbidden, "the socket proxy does not forward GET /v1.41/tasks"},
		"list tasks":            {http.StatusInternalServerError, "something else"},
		"node.role == manager'": {http.StatusServiceUnavailable, "the Docker Engine answers 503 Service Unavailable"},
	} {
		f := newFakeSwarm(t)
		f.update(func() { f.status, f.message = answer.status, answer.message })
		core, logs := observer.New(zap.WarnLevel)
		s := f.newSource().(discovery.Swarm)
		s.Log = zap.New(core)
		r := runSource(t, s)
		want = strings.TrimSuffix(want, "'")
		r.eventually(t, want, func() bool {
			return slices.ContainsFunc(logs.All(), func(e observer.LoggedEntry) bool { return strings.Contains(e.ContextMap()["error"].(string), want) })
		})
		f.update(func() { f.status = 0 })
		r.eventually(t, "contact", func() bool { return r.online })
	}
}

// TestASwarmGoesOfflineOnlyAfterAWhile: DNS knows less, so that it does not decide at each failure.
func TestASwarmGoesOfflineOnlyAfterAWhile(t *testing.T) {
	f := newFakeSwarm(t)
	f.setAddrs("10.0.0.7")
	r := run(t, f)
	r.eventuallyServes(t, "10.0.0.7")
	f.goDown()
	start := time.Now()
	r.eventually(t, "offline", func() bool { return !r.online })
	if took := time.Since(start); took < 2*time.Second || took > 8*time.Second {
		t.Errorf("the source was offline after %s", took)
	}
	f.goUp()
	r.eventuallyServes(t, "10.0.0.7")
}
