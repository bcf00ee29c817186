package kubernetes_test

import (
	"encoding/json"
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/rest"

	"github.com/theworklabs/edge/internal/discovery"
	"github.com/theworklabs/edge/internal/discovery/sourcetest"
	"github.com/theworklabs/edge/internal/kubernetes"
)

// fakeKubernetes is an API server with the lists and watches that the source needs, of the namespace p. It has the service api, in one slice.
type fakeKubernetes struct {
	url string

	mu        sync.Mutex
	version   int
	objects   map[string]map[string]any // by resource and name
	history   []kubernetesEvent
	watches   map[chan struct{}]struct{} // which wake up on each change
	down      bool
	expired   int // watches from a version below this get the error Expired
	forbidden bool
	token     string // the only one that is accepted; "": none is needed
	refused   int    // requests without it
	lists     int
}

// kubernetesEvent is a change of an object.
type kubernetesEvent struct {
	resource, kind string
	version        int
	object         any
}

// The resources, by the last part of their paths.
const (
	sliceResource = "endpointslices"
	podResource   = "pods"
)

func newFakeKubernetes(t *testing.T) *fakeKubernetes {
	t.Helper()
	f := &fakeKubernetes{
		version: 1, watches: make(map[chan struct{}]struct{}),
		objects: map[string]map[string]any{sliceResource: {}, podResource: {}},
	}
	server := httptest.NewServer(f)
	t.Cleanup(server.Close)
	t.Cleanup(f.GoDown) // so that the server does not wait for the watches
	f.url = server.URL
	f.SetAddrs()
	return f
}

func (f *fakeKubernetes) ServeHTTP(out http.ResponseWriter, r *http.Request) {
	f.mu.Lock()
	down, forbidden := f.down, f.forbidden
	unauthorized := f.token != "" && r.Header.Get("Authorization") != "Bearer "+f.token
	if unauthorized {
		f.refused++
	}
	f.mu.Unlock()
	parts := strings.Split(r.URL.Path, "/")
	resource := parts[len(parts)-1]
	switch {
	case down:
		panic(http.ErrAbortHandler)
	case unauthorized:
		writeStatus(out, http.StatusUnauthorized, metav1.StatusReasonUnauthorized)
	case forbidden:
		writeStatus(out, http.StatusForbidden, metav1.StatusReasonForbidden)
	case f.objects[resource] == nil || !strings.Contains(r.URL.Path, "/namespaces/p/"):
		writeStatus(out, http.StatusNotFound, metav1.StatusReasonNotFound)
	case r.URL.Query().Get("watch") != "":
		f.serveWatch(out, r, resource)
	default:
		f.serveList(out, resource)
	}
}

func writeStatus(out http.ResponseWriter, code int, reason metav1.StatusReason) {
	out.Header().Set("Content-Type", "application/json")
	out.WriteHeader(code)
	_ = json.NewEncoder(out).Encode(metav1.Status{
		TypeMeta: metav1.TypeMeta{Kind: "Status", APIVersion: "v1"}, Status: metav1.StatusFailure, Reason: reason, Code: int32(code), Message: string(reason),
	})
}

func (f *fakeKubernetes) serveList(out http.ResponseWriter, resource string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.lists++
	kind, version := "EndpointSliceList", "discovery.k8s.io/v1"
	if resource == podResource {
		kind, version = "PartialObjectMetadataList", "meta.k8s.io/v1"
	}
	out.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(out).Encode(map[string]any{
		"kind": kind, "apiVersion": version, "metadata": map[string]string{"resourceVersion": strconv.Itoa(f.version)},
		"items": slices.Collect(maps.Values(f.objects[resource])),
	})
}

func (f *fakeKubernetes) serveWatch(out http.ResponseWriter, r *http.Request, resource string) {
	since, _ := strconv.Atoi(r.URL.Query().Get("resourceVersion"))
	wake := make(chan struct{}, 1)
	f.mu.Lock()
	f.watches[wake] = struct{}{}
	expired := since < f.expired
	f.mu.Unlock()
	defer func() {
		f.mu.Lock()
		delete(f.watches, wake)
		f.mu.Unlock()
	}()
	out.Header().Set("Content-Type", "application/json")
	if expired {
		_ = json.NewEncoder(out).Encode(map[string]any{"type": "ERROR", "object": metav1.Status{
			TypeMeta: metav1.TypeMeta{Kind: "Status", APIVersion: "v1"}, Status: metav1.StatusFailure, Reason: metav1.StatusReasonExpired, Code: http.StatusGone,
		}})
		return
	}
	for {
		f.mu.Lock()
		down := f.down
		for _, e := range f.history {
			if e.resource == resource && e.version > since {
				_ = json.NewEncoder(out).Encode(map[string]any{"type": e.kind, "object": e.object})
				since = e.version
			}
		}
		f.mu.Unlock()
		if down {
			panic(http.ErrAbortHandler)
		}
		_ = http.NewResponseController(out).Flush()
		select {
		case <-r.Context().Done():
			return
		case <-wake:
		}
	}
}

// put adds or replaces an object, and remove removes it. The caller holds f.mu.
func (f *fakeKubernetes) put(resource, name string, object metav1.Object) {
	kind := "MODIFIED"
	if f.objects[resource][name] == nil {
		kind = "ADDED"
	}
	f.objects[resource][name] = object
	f.emit(resource, kind, object)
}

func (f *fakeKubernetes) remove(resource, name string) {
	if object := f.objects[resource][name]; object != nil {
		delete(f.objects[resource], name)
		f.emit(resource, "DELETED", object.(metav1.Object))
	}
}

// emit notes a change. The object must not be changed later.
func (f *fakeKubernetes) emit(resource, kind string, object metav1.Object) {
	f.version++
	object.SetResourceVersion(strconv.Itoa(f.version))
	f.history = append(f.history, kubernetesEvent{resource, kind, f.version, object.(runtime.Object).DeepCopyObject()})
	f.wakeAll()
}

func (f *fakeKubernetes) wakeAll() {
	for wake := range f.watches {
		select {
		case wake <- struct{}{}:
		default:
		}
	}
}

func (f *fakeKubernetes) update(change func()) {
	f.mu.Lock()
	defer f.mu.Unlock()
	change()
}

// newSlice returns a slice of the service api.
func newSlice(name string, endpoints ...discoveryv1.Endpoint) *discoveryv1.EndpointSlice {
	return &discoveryv1.EndpointSlice{
		TypeMeta:    metav1.TypeMeta{Kind: "EndpointSlice", APIVersion: "discovery.k8s.io/v1"},
		ObjectMeta:  metav1.ObjectMeta{Name: name, Namespace: "p", Labels: map[string]string{discoveryv1.LabelServiceName: "api"}},
		AddressType: discoveryv1.AddressTypeIPv4, Endpoints: endpoints,
	}
}

// newEndpoint returns a ready endpoint of the pod of an address.
func newEndpoint(addr string) discoveryv1.Endpoint {
	ready := true
	return discoveryv1.Endpoint{
		Addresses: []string{addr}, Conditions: discoveryv1.EndpointConditions{Ready: &ready},
		TargetRef: &corev1.ObjectReference{Kind: "Pod", Namespace: "p", Name: "api-" + addr, UID: types.UID("uid-" + addr)},
	}
}

// newPod returns the pod of an address.
func newPod(addr string) *metav1.PartialObjectMetadata {
	return &metav1.PartialObjectMetadata{
		TypeMeta:   metav1.TypeMeta{Kind: "PartialObjectMetadata", APIVersion: "meta.k8s.io/v1"},
		ObjectMeta: metav1.ObjectMeta{Name: "api-" + addr, Namespace: "p", UID: types.UID("uid-" + addr)},
	}
}

func (f *fakeKubernetes) NewSource() discovery.Source {
	return kubernetes.Source{Config: &rest.Config{Host: f.url}, Namespaces: []string{"p"}}
}

func (f *fakeKubernetes) SetAddrs(addrs ...string) {
	f.update(func() {
		var endpoints []discoveryv1.Endpoint
		for _, addr := range addrs {
			f.put(podResource, "api-"+addr, newPod(addr))
			endpoints = append(endpoints, newEndpoint(addr))
		}
		f.put(sliceResource, "api-1", newSlice("api-1", endpoints...))
		for name := range f.objects[podResource] {
			if !slices.Contains(addrs, strings.TrimPrefix(name, "api-")) {
				f.remove(podResource, name)
			}
		}
	})
}

func (f *fakeKubernetes) StopAll() { f.SetAddrs() }

func (f *fakeKubernetes) TellToStop(addr string) {
	f.update(func() {
		pod := newPod(addr)
		pod.DeletionTimestamp = &metav1.Time{Time: time.Now()}
		f.put(podResource, pod.Name, pod)
	})
}

// CutOff does what the control plane does 40 s after a node is gone.
func (f *fakeKubernetes) CutOff(addr string) {
	f.update(func() {
		slice := f.objects[sliceResource]["api-1"].(*discoveryv1.EndpointSlice).DeepCopy()
		for i, e := range slice.Endpoints {
			if e.Addresses[0] == addr {
				ready := false
				slice.Endpoints[i].Conditions.Ready = &ready
			}
		}
		f.put(sliceResource, "api-1", slice)
	})
}

// GoDown also ends the watches.
func (f *fakeKubernetes) GoDown() {
	for open := 1; open > 0; time.Sleep(time.Millisecond) {
		f.update(func() {
			f.down = true
			f.wakeAll()
			open = len(f.watches)
		})
	}
}

func (f *fakeKubernetes) GoUp()        { f.update(func() { f.down = false }) }
func (*fakeKubernetes) IsStatic() bool { return false }

var _ sourcetest.Orchestrator = (*fakeKubernetes)(nil)
