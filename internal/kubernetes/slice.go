package kubernetes

import (
	"cmp"
	"maps"
	"net/netip"
	"slices"
	"strings"

	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/theworklabs/edge/internal/discovery"
)

// sliceServices returns the service of a slice, as namespace/name.
func sliceServices(object any) ([]string, error) {
	slice, ok := object.(*discoveryv1.EndpointSlice)
	if !ok || slice.Labels[discoveryv1.LabelServiceName] == "" {
		return nil, nil
	}
	return []string{slice.Namespace + "/" + slice.Labels[discoveryv1.LabelServiceName]}, nil
}

// slicePods returns the pods of a slice, as namespace/name.
func slicePods(object any) (pods []string, err error) {
	if slice, ok := object.(*discoveryv1.EndpointSlice); ok {
		for _, e := range slice.Endpoints {
			if e.TargetRef != nil && e.TargetRef.Kind == "Pod" {
				pods = append(pods, slice.Namespace+"/"+e.TargetRef.Name)
			}
		}
	}
	return pods, nil
}

// dropUnused drops what is not used of an object, since all of them are kept in memory.
func dropUnused(object any) (any, error) {
	switch o := object.(type) {
	case *discoveryv1.EndpointSlice:
		o.ManagedFields, o.Annotations, o.OwnerReferences = nil, nil, nil
	case *metav1.PartialObjectMetadata:
		o.ManagedFields, o.Annotations, o.OwnerReferences, o.Labels, o.Finalizers = nil, nil, nil, nil, nil
	}
	return object, nil
}

// find returns a service, namespace/name, and its pods. It is known if it has a slice.
func (w *watch) find(service string) discovery.Service {
	namespace, name, _ := strings.Cut(service, "/")
	found := discovery.Service{Project: namespace, Name: name}
	pods := make(map[string]discovery.Container)
	for i, informer := range w.slices {
		objects, _ := informer.GetIndexer().ByIndex(byService, service) // the index exists
		for _, object := range objects {
			found.IsKnown = true
			slice := object.(*discoveryv1.EndpointSlice)
			for _, e := range slice.Endpoints {
				w.addEndpoint(pods, namespace, i, e)
			}
		}
	}
	found.Containers = slices.Collect(maps.Values(pods))
	return found
}

// addEndpoint adds an endpoint of a service to its pods, by their IDs. Of a pod with two kinds of addresses, there are two endpoints.
func (w *watch) addEndpoint(pods map[string]discovery.Container, namespace string, informer int, e discoveryv1.Endpoint) {
	if len(e.Addresses) == 0 {
		return
	}
	addr, err := netip.ParseAddr(e.Addresses[0])
	if err != nil {
		return // a name, of a service that is outside of the cluster
	}
	id, name := e.Addresses[0], e.Addresses[0]
	isStopping := e.Conditions.Terminating != nil && *e.Conditions.Terminating
	if e.TargetRef != nil && e.TargetRef.Kind == "Pod" {
		id, name = string(e.TargetRef.UID), e.TargetRef.Name
		isStopping = isStopping || w.isDeleted(informer, namespace+"/"+name, id)
	}
	pod, isThere := pods[id]
	if !isThere {
		pod = discovery.Container{ID: id, Name: name, Addr: addr}
	}
	if compareAddrs(addr, pod.Addr) < 0 {
		pod.Addr = addr
	}
	pod.IsStopping = pod.IsStopping || isStopping
	if e.Conditions.Ready != nil && !*e.Conditions.Ready && !isStopping {
		pod.UnhealthyReason = reasonNotReady
	}
	pods[id] = pod
}

// reasonNotReady is a value of discovery.Container.UnhealthyReason.
const reasonNotReady = "Kubernetes says that it is not ready"

// compareAddrs orders addresses: IPv4 before IPv6.
func compareAddrs(a, b netip.Addr) int {
	return cmp.Or(cmp.Compare(a.BitLen(), b.BitLen()), a.Compare(b))
}

// isDeleted reports whether a pod is being deleted, or is gone: a slice lists it for some time longer. For a moment, it may also be a new pod
// whose slice has arrived first.
func (w *watch) isDeleted(informer int, key, uid string) bool {
	object, isThere, _ := w.pods[informer].GetStore().GetByKey(key) // it is in memory
	if !isThere {
		return true
	}
	pod, ok := object.(*metav1.PartialObjectMetadata)
	return !ok || string(pod.UID) != uid || pod.DeletionTimestamp != nil
}
