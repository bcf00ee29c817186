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
	"github.com/theworklabs/edge/internal/discovery/sourcetest"
	"github.com/theworklabs/edge/internal/registry"
)

func TestSwarmTasksAnswerToTheNamesOfTheirService(t *testing.T) {
	f := newFakeSwarm(t)
	f.update(func() {
		s := f.services["p_api"]
		s.Spec.TaskTemplate.Networks = append(s.Spec.TaskTemplate.Networks, swarm.NetworkAttachmentConfig{Aliases: []string{"Accounting"}})
		f.services["p_api"] = s
	})
	f.SetAddrs("10.0.0.7")
	r := sourcetest.Start(t, f.NewSource())
	for _, name := range []string{"api", "p_api", "accounting", "p/api", "p/p_api", "p/accounting"} {
		r.Eventually(t, name, func(s sourcetest.State) bool { return slices.Equal(s.Phases(name), []registry.Phase{registry.Running}) })
	}
	s := r.State()
	i := slices.IndexFunc(s.Members["api"], func(m registry.Member) bool { return m.Phase == registry.Running })
	if m := s.Members["api"][i]; m.Name != "p/api/1" || m.Project != "p" || m.ID != "t10.0.0.7" {
		t.Errorf("the member is %+v", m)
	}
}

func TestSwarmTaskOfEachNodeIsNamedByIt(t *testing.T) {
	f := newFakeSwarm(t)
	f.setTask("t1", "p_api", "10.0.0.7", func(task *swarm.Task) { task.Slot = 0 })
	r := sourcetest.Start(t, f.NewSource())
	r.Eventually(t, "name with the node", func(s sourcetest.State) bool {
		return slices.ContainsFunc(s.Members["api"], func(m registry.Member) bool { return m.Name == "p/api/host-n1" })
	})
}

func TestSwarmTaskStates(t *testing.T) {
	for state, want := range map[swarm.TaskState][]registry.Phase{
		swarm.TaskStatePending: {registry.Stopped}, swarm.TaskStatePreparing: {registry.Stopped}, swarm.TaskStateStarting: {registry.Stopped},
		swarm.TaskStateRunning: {registry.Running}, swarm.TaskStateFailed: nil, swarm.TaskStateComplete: nil, swarm.TaskStateRejected: nil,
	} {
		f := newFakeSwarm(t)
		f.setTask("t1", "p_api", "10.0.0.7", func(task *swarm.Task) { task.Status.State = state })
		r := sourcetest.Start(t, f.NewSource())
		r.Eventually(t, string(state), func(s sourcetest.State) bool { return s.IsOnline && slices.Equal(s.Phases("api"), want) })
	}
}

func TestASwarmTaskThatEndsIsAskedForUntilItHasEnded(t *testing.T) {
	f := newFakeSwarm(t)
	f.SetAddrs("10.0.0.7")
	r := sourcetest.Start(t, f.NewSource())
	r.EventuallyServes(t, "10.0.0.7")
	f.TellToStop("10.0.0.7")
	r.Eventually(t, "terminating task", func(s sourcetest.State) bool {
		return slices.Equal(s.Phases("api"), []registry.Phase{registry.Terminating})
	})
	f.update(func() {
		if !slices.Equal(f.byID, []string{"t10.0.0.7"}) {
			t.Errorf("the source asked for the tasks %q by ID", f.byID)
		}
	})
	f.StopAll()
	r.Eventually(t, "no task", func(s sourcetest.State) bool { return s.Phases("api") == nil })
	polls := 0
	f.update(func() { f.byID, polls = nil, f.polls })
	r.Eventually(t, "", func(sourcetest.State) bool { return true })
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
	r := sourcetest.Start(t, f.NewSource())
	r.Eventually(t, "api", func(s sourcetest.State) bool { return len(s.Members["api"]) == 1 && s.IsOnline })
	f.update(func() { delete(f.services, "p_api") })
	r.Eventually(t, "no api", func(s sourcetest.State) bool { return len(s.Members["api"]) == 0 })
}

func TestANewSwarmServiceIsSeenWithItsFirstTask(t *testing.T) {
	f := newFakeSwarm(t)
	r := sourcetest.Start(t, f.NewSource())
	r.Eventually(t, "contact", func(s sourcetest.State) bool { return s.IsOnline })
	f.addService("p", "web")
	f.setTask("w1", "p_web", "10.0.0.9", nil)
	start := time.Now()
	r.Eventually(t, "web", func(s sourcetest.State) bool {
		return slices.Equal(s.Phases("web"), []registry.Phase{registry.Running})
	})
	if took := time.Since(start); took > time.Second {
		t.Errorf("a task of a new service was seen after %s", took)
	}
}

func TestOtherStacksAreNotServed(t *testing.T) {
	f := newFakeSwarm(t)
	f.addService("q", "web")
	f.setTask("w1", "q_web", "10.0.0.9", nil)
	r := sourcetest.Start(t, f.NewSource())
	r.Eventually(t, "problem", func(s sourcetest.State) bool {
		return strings.Contains(s.Problems["web"], "project q has one") && s.IsOnline
	})
	s := r.State()
	if len(s.Members["web"]) > 0 || len(s.Members["q/web"]) != 2 {
		t.Errorf("web has the members %v, and q/web %v", s.Members["web"], s.Members["q/web"])
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
		s := f.NewSource().(discovery.Swarm)
		s.Log = zap.New(core)
		r := sourcetest.Start(t, s)
		want = strings.TrimSuffix(want, "'")
		r.Eventually(t, want, func(sourcetest.State) bool {
			return slices.ContainsFunc(logs.All(), func(e observer.LoggedEntry) bool { return strings.Contains(e.ContextMap()["error"].(string), want) })
		})
		f.update(func() { f.status = 0 })
		r.Eventually(t, "contact", func(s sourcetest.State) bool { return s.IsOnline })
	}
}

// TestASwarmGoesOfflineOnlyAfterAWhile: DNS knows less, so that it does not decide at each failure.
func TestASwarmGoesOfflineOnlyAfterAWhile(t *testing.T) {
	f := newFakeSwarm(t)
	f.SetAddrs("10.0.0.7")
	r := sourcetest.Start(t, f.NewSource())
	r.EventuallyServes(t, "10.0.0.7")
	f.GoDown()
	start := time.Now()
	r.Eventually(t, "offline", func(s sourcetest.State) bool { return !s.IsOnline })
	if took := time.Since(start); took < 2*time.Second || took > 8*time.Second {
		t.Errorf("the source was offline after %s", took)
	}
	f.GoUp()
	r.EventuallyServes(t, "10.0.0.7")
}
