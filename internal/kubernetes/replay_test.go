package kubernetes_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"slices"
	"testing"

	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/theworklabs/edge/internal/discovery/sourcetest"
	"github.com/theworklabs/edge/internal/registry"
)

// recordedEvent is a line of testdata/rollout.jsonl, which TestRecord of tests/kubernetes writes: the watch events of a real API server about the service web while
// its pods were replaced, and while it was scaled to 0 and back.
type recordedEvent struct {
	Resource, Type string
	Object         json.RawMessage
}

// TestARecordedRollout replays watch events of a real API server. After each one, exactly those pods serve that are ready and not being deleted, and the service
// stays known.
func TestARecordedRollout(t *testing.T) {
	text, err := os.ReadFile("testdata/rollout.jsonl")
	if err != nil {
		t.Fatal(err)
	}
	text = bytes.ReplaceAll(text, []byte(`"namespace":"lab"`), []byte(`"namespace":"p"`))
	f := newFakeKubernetes(t)
	r := sourcetest.Start(t, f.NewSource())
	r.EventuallyServes(t)
	isKnown := false
	counts := make(map[int]bool) // how many pods served
	for i, line := range bytes.Split(bytes.TrimSpace(text), []byte("\n")) {
		var e recordedEvent
		if err := json.Unmarshal(line, &e); err != nil {
			t.Fatal(err)
		}
		isKnown = isKnown || e.Resource == sliceResource
		want := f.replay(t, e)
		counts[len(want)] = true
		r.Eventually(t, fmt.Sprintf("event %d (%s %s): web at %v", i, e.Type, e.Resource, want), func(s sourcetest.State) bool {
			return slices.Equal(servingAddrs(s, "web"), want) && (len(s.Members["web"]) > 0) == isKnown
		})
	}
	for n := range 3 {
		if !counts[n] {
			t.Errorf("there was no time at which %d pods served: %v", n, counts)
		}
	}
}

// servingAddrs returns the addresses of the members of a name that may get requests, sorted.
func servingAddrs(s sourcetest.State, name string) (addrs []string) {
	for _, m := range s.Members[name] {
		if m.Phase == registry.Running && m.UnhealthyReason == "" {
			addrs = append(addrs, m.Addr.String())
		}
	}
	slices.Sort(addrs)
	return addrs
}

// replay does what an event says, and returns the addresses of the pods that should serve now, sorted.
func (f *fakeKubernetes) replay(t *testing.T, e recordedEvent) (serving []string) {
	t.Helper()
	var object metav1.Object = new(discoveryv1.EndpointSlice)
	if e.Resource == podResource {
		object = new(metav1.PartialObjectMetadata)
	}
	if err := json.Unmarshal(e.Object, object); err != nil {
		t.Fatal(err)
	}
	if pod, ok := object.(*metav1.PartialObjectMetadata); ok {
		pod.TypeMeta = metav1.TypeMeta{Kind: "PartialObjectMetadata", APIVersion: "meta.k8s.io/v1"}
	}
	f.update(func() {
		if e.Type == "DELETED" {
			f.remove(e.Resource, object.GetName())
		} else {
			f.put(e.Resource, object.GetName(), object)
		}
		for _, o := range f.objects[sliceResource] {
			slice := o.(*discoveryv1.EndpointSlice)
			if slice.Labels[discoveryv1.LabelServiceName] != "web" {
				continue
			}
			for _, endpoint := range slice.Endpoints {
				pod, _ := f.objects[podResource][endpoint.TargetRef.Name].(*metav1.PartialObjectMetadata)
				if pod != nil && pod.UID == endpoint.TargetRef.UID && pod.DeletionTimestamp == nil && *endpoint.Conditions.Ready && !*endpoint.Conditions.Terminating {
					serving = append(serving, endpoint.Addresses[0])
				}
			}
		}
	})
	slices.Sort(serving)
	return serving
}
