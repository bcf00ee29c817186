package discovery_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"
	discoveryv1 "k8s.io/api/discovery/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/theworklabs/edge/internal/discovery"
	"github.com/theworklabs/edge/internal/registry"
)

func TestPodsAnswerToTheNamesOfTheirService(t *testing.T) {
	f := newFakeKubernetes(t)
	f.setAddrs("10.0.0.7")
	r := run(t, f)
	for _, name := range []string{"api", "p/api"} {
		r.eventually(t, name, func() bool { return slices.Equal(phasesOf(r, name), []registry.Phase{registry.Running}) })
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	i := slices.IndexFunc(r.names["api"], func(m registry.Member) bool { return m.Phase == registry.Running })
	if m := r.names["api"][i]; m.Name != "p/api/api-10.0.0.7" || m.Project != "p" || m.ID != "uid-10.0.0.7" {
		t.Errorf("the member is %+v", m)
	}
}

func TestAServiceMayHaveSeveralSlices(t *testing.T) {
	f := newFakeKubernetes(t)
	f.setAddrs("10.0.0.7", "10.0.0.8")
	f.update(func() {
		f.put(sliceResource, "api-1", newSlice("api-1", newEndpoint("10.0.0.7")))
		f.put(sliceResource, "api-2", newSlice("api-2", newEndpoint("10.0.0.8")))
	})
	r := run(t, f)
	r.eventuallyServes(t, "10.0.0.7", "10.0.0.8")
	f.update(func() { f.remove(sliceResource, "api-1") })
	r.eventuallyServes(t, "10.0.0.8")
	f.update(func() { f.remove(sliceResource, "api-2") })
	r.eventually(t, "an unknown service", func() bool { return len(r.names["api"]) == 0 })
}

func TestAPodWithTwoAddressesIsOneMember(t *testing.T) {
	f := newFakeKubernetes(t)
	f.setAddrs("10.0.0.7")
	f.update(func() {
		second := newEndpoint("10.0.0.7")
		second.Addresses = []string{"fd00::7"}
		slice := newSlice("api-2", second)
		slice.AddressType = discoveryv1.AddressTypeIPv6
		f.put(sliceResource, "api-2", slice)
	})
	r := run(t, f)
	r.eventuallyServes(t, "10.0.0.7")
}

func TestEndpointsWithoutAPod(t *testing.T) {
	f := newFakeKubernetes(t)
	f.update(func() {
		manual, name := newEndpoint("10.0.0.9"), newEndpoint("db.example.com")
		manual.TargetRef, name.TargetRef = nil, nil
		f.put(sliceResource, "api-1", newSlice("api-1", manual, name))
	})
	r := run(t, f)
	r.eventuallyServes(t, "10.0.0.9")
}

// TestAPodThatIsGoneIsStopping: its slice has it for some milliseconds longer. Its successor in a StatefulSet has its name.
func TestAPodThatIsGoneIsStopping(t *testing.T) {
	f := newFakeKubernetes(t)
	f.setAddrs("10.0.0.7", "10.0.0.8")
	r := run(t, f)
	r.eventuallyServes(t, "10.0.0.7", "10.0.0.8")
	f.update(func() { f.remove(podResource, "api-10.0.0.7") })
	r.eventuallyServes(t, "10.0.0.8")
	f.update(func() {
		successor := newPod("10.0.0.8")
		successor.UID = types.UID("another one")
		f.put(podResource, successor.Name, successor)
	})
	r.eventuallyServes(t)
	r.eventually(t, "stopping pods", func() bool {
		return slices.Equal(phasesOf(r, "api"), []registry.Phase{registry.Terminating, registry.Terminating})
	})
}

func TestASliceTellsThatAPodTerminates(t *testing.T) {
	f := newFakeKubernetes(t)
	f.setAddrs("10.0.0.7")
	r := run(t, f)
	r.eventuallyServes(t, "10.0.0.7")
	f.update(func() {
		e, yes, no := newEndpoint("10.0.0.7"), true, false
		e.Conditions = discoveryv1.EndpointConditions{Ready: &no, Serving: &yes, Terminating: &yes}
		f.put(sliceResource, "api-1", newSlice("api-1", e))
	})
	r.eventually(t, "a terminating pod without a problem", func() bool {
		return slices.ContainsFunc(r.names["api"], func(m registry.Member) bool { return m.Phase == registry.Terminating && m.UnhealthyReason == "" })
	})
}

// TestAnExpiredWatchListsAgain: the API server keeps the history of some minutes.
func TestAnExpiredWatchListsAgain(t *testing.T) {
	f := newFakeKubernetes(t)
	f.setAddrs("10.0.0.7")
	r := run(t, f)
	r.eventuallyServes(t, "10.0.0.7")
	lists := 0
	f.goDown()
	f.setAddrs("10.0.0.8")
	f.update(func() { lists, f.expired, f.history = f.lists, f.version, nil })
	f.goUp()
	r.eventuallyServes(t, "10.0.0.8")
	f.update(func() {
		if f.lists < lists+2 {
			t.Errorf("the source listed %d times after the history had expired, want both resources", f.lists-lists)
		}
	})
}

func TestMissingRightsAreExplained(t *testing.T) {
	f := newFakeKubernetes(t)
	f.setAddrs("10.0.0.7")
	f.update(func() { f.forbidden = true })
	core, logs := observer.New(zap.WarnLevel)
	s := f.newSource().(discovery.Kubernetes)
	s.Log = zap.New(core)
	r := runSource(t, s)
	r.eventually(t, "a hint for each resource", func() bool {
		hints := 0
		for _, e := range logs.All() {
			if strings.Contains(e.ContextMap()["error"].(string), "a role with get, list and watch of") {
				hints++
			}
		}
		return hints == 2
	})
	f.update(func() { f.forbidden = false })
	r.eventuallyServes(t, "10.0.0.7")
}

func TestOutsideOfAClusterTheSourceSaysSo(t *testing.T) {
	core, logs := observer.New(zap.ErrorLevel)
	r := runSource(t, discovery.Kubernetes{Log: zap.New(core)})
	for deadline := time.Now().Add(10 * time.Second); logs.Len() == 0; time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("the log has no error")
		}
	}
	if got := logs.All()[0].Message; !strings.Contains(got, "run the edge in a pod") {
		t.Errorf("the log has %q", got)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.online {
		t.Error("the source is online")
	}
}
