package kubernetes_test

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"
	discoveryv1 "k8s.io/api/discovery/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/theworklabs/edge/internal/discovery/sourcetest"
	"github.com/theworklabs/edge/internal/kubernetes"
	"github.com/theworklabs/edge/internal/registry"
)

func TestSourceConformance(t *testing.T) {
	sourcetest.Run(t, func(t *testing.T) sourcetest.Environment { return newFakeKubernetes(t) })
}

func TestPodsAnswerToTheNamesOfTheirService(t *testing.T) {
	f := newFakeKubernetes(t)
	f.SetAddrs("10.0.0.7")
	r := sourcetest.Start(t, f.NewSource())
	for _, name := range []string{"api", "p/api"} {
		r.Eventually(t, name, func(s sourcetest.State) bool { return slices.Equal(s.Phases(name), []registry.Phase{registry.Running}) })
	}
	s := r.State()
	i := slices.IndexFunc(s.Members["api"], func(m registry.Member) bool { return m.Phase == registry.Running })
	if m := s.Members["api"][i]; m.Name != "p/api/api-10.0.0.7" || m.Project != "p" || m.ID != "uid-10.0.0.7" {
		t.Errorf("the member is %+v", m)
	}
}

func TestAServiceMayHaveSeveralSlices(t *testing.T) {
	f := newFakeKubernetes(t)
	f.SetAddrs("10.0.0.7", "10.0.0.8")
	f.update(func() {
		f.put(sliceResource, "api-1", newSlice("api-1", newEndpoint("10.0.0.7")))
		f.put(sliceResource, "api-2", newSlice("api-2", newEndpoint("10.0.0.8")))
	})
	r := sourcetest.Start(t, f.NewSource())
	r.EventuallyServes(t, "10.0.0.7", "10.0.0.8")
	f.update(func() { f.remove(sliceResource, "api-1") })
	r.EventuallyServes(t, "10.0.0.8")
	f.update(func() { f.remove(sliceResource, "api-2") })
	r.Eventually(t, "an unknown service", func(s sourcetest.State) bool { return len(s.Members["api"]) == 0 })
}

func TestAPodWithTwoAddressesIsOneMember(t *testing.T) {
	f := newFakeKubernetes(t)
	f.SetAddrs("10.0.0.7")
	f.update(func() {
		second := newEndpoint("10.0.0.7")
		second.Addresses = []string{"fd00::7"}
		slice := newSlice("api-2", second)
		slice.AddressType = discoveryv1.AddressTypeIPv6
		f.put(sliceResource, "api-2", slice)
	})
	r := sourcetest.Start(t, f.NewSource())
	r.EventuallyServes(t, "10.0.0.7")
}

// TestAPodMayBelongToSeveralServices, as those of a StatefulSet do.
func TestAPodMayBelongToSeveralServices(t *testing.T) {
	f := newFakeKubernetes(t)
	f.SetAddrs("10.0.0.7")
	f.update(func() {
		headless := newSlice("headless-1", newEndpoint("10.0.0.7"))
		headless.Labels[discoveryv1.LabelServiceName] = "headless"
		f.put(sliceResource, headless.Name, headless)
	})
	r := sourcetest.Start(t, f.NewSource())
	for _, name := range []string{"api", "headless"} {
		r.Eventually(t, name+" at 10.0.0.7", func(s sourcetest.State) bool { return slices.Equal(servingAddrs(s, name), []string{"10.0.0.7"}) })
	}
	if id := r.State().Members["headless"]; !slices.ContainsFunc(id, func(m registry.Member) bool { return m.ID == "uid-10.0.0.7" }) {
		t.Errorf("the members of headless are %+v", id)
	}
	f.update(func() { f.remove(sliceResource, "headless-1") })
	r.EventuallyServes(t, "10.0.0.7")
}

func TestEndpointsWithoutAPod(t *testing.T) {
	f := newFakeKubernetes(t)
	f.update(func() {
		manual, name := newEndpoint("10.0.0.9"), newEndpoint("db.example.com")
		manual.TargetRef, name.TargetRef = nil, nil
		f.put(sliceResource, "api-1", newSlice("api-1", manual, name))
	})
	r := sourcetest.Start(t, f.NewSource())
	r.EventuallyServes(t, "10.0.0.9")
}

// TestAPodThatIsGoneIsStopping: its slice has it for some milliseconds longer. Its successor in a StatefulSet has its name.
func TestAPodThatIsGoneIsStopping(t *testing.T) {
	f := newFakeKubernetes(t)
	f.SetAddrs("10.0.0.7", "10.0.0.8")
	r := sourcetest.Start(t, f.NewSource())
	r.EventuallyServes(t, "10.0.0.7", "10.0.0.8")
	f.update(func() { f.remove(podResource, "api-10.0.0.7") })
	r.EventuallyServes(t, "10.0.0.8")
	f.update(func() {
		successor := newPod("10.0.0.8")
		successor.UID = types.UID("another one")
		f.put(podResource, successor.Name, successor)
	})
	r.EventuallyServes(t)
	r.Eventually(t, "stopping pods", func(s sourcetest.State) bool {
		return slices.Equal(s.Phases("api"), []registry.Phase{registry.Terminating, registry.Terminating})
	})
}

func TestASliceTellsThatAPodTerminates(t *testing.T) {
	f := newFakeKubernetes(t)
	f.SetAddrs("10.0.0.7")
	r := sourcetest.Start(t, f.NewSource())
	r.EventuallyServes(t, "10.0.0.7")
	f.update(func() {
		e, yes, no := newEndpoint("10.0.0.7"), true, false
		e.Conditions = discoveryv1.EndpointConditions{Ready: &no, Serving: &yes, Terminating: &yes}
		f.put(sliceResource, "api-1", newSlice("api-1", e))
	})
	r.Eventually(t, "a terminating pod without a problem", func(s sourcetest.State) bool {
		return slices.ContainsFunc(s.Members["api"], func(m registry.Member) bool { return m.Phase == registry.Terminating && m.UnhealthyReason == "" })
	})
}

// TestAnExpiredWatchListsAgain: the API server keeps the history of some minutes.
func TestAnExpiredWatchListsAgain(t *testing.T) {
	f := newFakeKubernetes(t)
	f.SetAddrs("10.0.0.7")
	r := sourcetest.Start(t, f.NewSource())
	r.EventuallyServes(t, "10.0.0.7")
	lists := 0
	f.GoDown()
	f.SetAddrs("10.0.0.8")
	f.update(func() { lists, f.expired, f.history = f.lists, f.version, nil })
	f.GoUp()
	r.EventuallyServes(t, "10.0.0.8")
	f.update(func() {
		if f.lists < lists+2 {
			t.Errorf("the source listed %d times after the history had expired, want both resources", f.lists-lists)
		}
	})
}

// TestAnExpiredTokenIsReplaced: the kubelet writes a new one before the old one expires. Here it comes late: until then, the source keeps what it knows.
func TestAnExpiredTokenIsReplaced(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "token")
	write := func(token string) {
		t.Helper()
		if err := os.WriteFile(file, []byte(token), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("old")
	f := newFakeKubernetes(t)
	f.SetAddrs("10.0.0.7")
	f.update(func() { f.token = "old" })
	s := f.NewSource().(kubernetes.Source)
	s.Config.BearerTokenFile = file
	core, logs := observer.New(zap.WarnLevel)
	s.Log = zap.New(core)
	r := sourcetest.Start(t, s)
	r.EventuallyServes(t, "10.0.0.7")

	f.GoDown()
	f.SetAddrs("10.0.0.8")
	f.update(func() { f.token = "new" })
	f.GoUp()
	wait := func(limit time.Duration, what string, holds func() bool) {
		t.Helper()
		for deadline := time.Now().Add(limit); !holds(); time.Sleep(20 * time.Millisecond) {
			if time.Now().After(deadline) {
				t.Fatalf("no %s within %v; the source has %v", what, limit, servingAddrs(r.State(), "api"))
			}
		}
	}
	wait(20*time.Second, "refused requests and log", func() bool {
		f.mu.Lock()
		defer f.mu.Unlock()
		return f.refused > 1 && logs.Len() > 0
	})
	if got := servingAddrs(r.State(), "api"); !slices.Equal(got, []string{"10.0.0.7"}) {
		t.Errorf("without a valid token, the source has %v", got)
	}
	write("new")
	// client-go reads the file once a minute, and waits longer and longer between its tries.
	wait(2*time.Minute, "new pod", func() bool { return slices.Equal(servingAddrs(r.State(), "api"), []string{"10.0.0.8"}) })
}

func TestMissingRightsAreExplained(t *testing.T) {
	f := newFakeKubernetes(t)
	f.SetAddrs("10.0.0.7")
	f.update(func() { f.forbidden = true })
	core, logs := observer.New(zap.WarnLevel)
	s := f.NewSource().(kubernetes.Source)
	s.Log = zap.New(core)
	r := sourcetest.Start(t, s)
	r.Eventually(t, "a hint for each resource", func(sourcetest.State) bool {
		hints := 0
		for _, e := range logs.All() {
			if strings.Contains(e.ContextMap()["error"].(string), "a role with get, list and watch of") {
				hints++
			}
		}
		return hints == 2
	})
	f.update(func() { f.forbidden = false })
	r.EventuallyServes(t, "10.0.0.7")
}

func TestOutsideOfAClusterTheSourceSaysSo(t *testing.T) {
	core, logs := observer.New(zap.ErrorLevel)
	r := sourcetest.Start(t, kubernetes.Source{Log: zap.New(core)})
	for deadline := time.Now().Add(10 * time.Second); logs.Len() == 0; time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("the log has no error")
		}
	}
	if got := logs.All()[0].Message; !strings.Contains(got, "run the edge in a pod") {
		t.Errorf("the log has %q", got)
	}
	if r.State().IsOnline {
		t.Error("the source is online")
	}
}
