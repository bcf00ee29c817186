package discovery

import (
	"cmp"
	"net/netip"
	"slices"
	"strings"

	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// podNetwork is the name of the network that all pods share.
const podNetwork = "pods"

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

// find returns the pods of a service, and a stopped member that makes it known; none if it has no slice.
func (w *kubernetesWatch) find(service string) []containerInfo {
	namespace, name, _ := strings.Cut(service, "/")
	known := containerInfo{id: "service " + service, project: namespace, service: strings.ToLower(name), names: []string{strings.ToLower(name), strings.ToLower(service)}}
	pods := make(map[string]containerInfo)
	isKnown := false
	for i, informer := range w.slices {
		objects, _ := informer.GetIndexer().ByIndex(byService, service) // the index exists
		for _, object := range objects {
			isKnown = true
			slice := object.(*discoveryv1.EndpointSlice)
			for _, e := range slice.Endpoints {
				w.addEndpoint(pods, known, i, e)
			}
		}
	}
	if !isKnown {
		return nil
	}
	all := []containerInfo{known}
	for _, c := range pods {
		slices.SortFunc(c.networks[podNetwork], func(a, b netip.Addr) int { // IPv4 before IPv6
			return cmp.Or(cmp.Compare(a.BitLen(), b.BitLen()), a.Compare(b))
		})
		all = append(all, c)
	}
	return all
}

// addEndpoint adds an endpoint of a service to its pods, by their IDs. Of a pod with two kinds of addresses, there are two endpoints.
func (w *kubernetesWatch) addEndpoint(pods map[string]containerInfo, service containerInfo, informer int, e discoveryv1.Endpoint) {
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
		isStopping = isStopping || w.isDeleted(informer, service.project+"/"+name, id)
	}
	c, isThere := pods[id]
	if !isThere {
		c = containerInfo{
			id: id, project: service.project, service: service.service, names: service.names, running: true,
			displayName: service.project + "/" + service.service + "/" + name, networks: make(map[string][]netip.Addr),
		}
	}
	c.networks[podNetwork] = append(c.networks[podNetwork], addr)
	c.isStopping = c.isStopping || isStopping
	if e.Conditions.Ready != nil && !*e.Conditions.Ready && !isStopping {
		c.unhealthyReason = reasonNotReady
	}
	pods[id] = c
}

// reasonNotReady is a value of containerInfo.unhealthyReason.
const reasonNotReady = "Kubernetes says that it is not ready"

// isDeleted reports whether a pod is being deleted, or is gone: a slice lists it for some time longer. For a moment, it may also be a new pod
// whose slice has arrived first.
func (w *kubernetesWatch) isDeleted(informer int, key, uid string) bool {
	object, isThere, _ := w.pods[informer].GetStore().GetByKey(key) // it is in memory
	if !isThere {
		return true
	}
	pod, ok := object.(*metav1.PartialObjectMetadata)
	return !ok || string(pod.UID) != uid || pod.DeletionTimestamp != nil
}
