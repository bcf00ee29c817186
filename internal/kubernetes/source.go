// Package kubernetes finds the pods of each service in Kubernetes, as package discovery finds Docker's containers, and writes them to the registry.
package kubernetes

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"go.uber.org/zap"
	discoveryv1 "k8s.io/api/discovery/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/runtime/serializer"
	"k8s.io/client-go/metadata"
	"k8s.io/client-go/metadata/metadatainformer"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/cache"

	"github.com/theworklabs/edge/internal/discovery"
)

// namespaceFile has the namespace of the pod that the edge runs in.
const namespaceFile = "/var/run/secrets/kubernetes.io/serviceaccount/namespace"

// Source watches the EndpointSlices and the pods of some namespaces. The slices tell which pods a service has, and the metadata of a pod that it
// is deleted, which is some ten milliseconds before the slices do, and before the pod gets the signal.
//
// A service without a pod is known, so that requests wait for one. While the API server does not answer, the last known pods are used.
//
// It needs get, list and watch of endpointslices (discovery.k8s.io) and pods in the namespaces.
type Source struct {
	Namespaces []string        // whose services are served, or discovery.AnyProject; none: the edge's own
	Config     *rest.Config    // how to reach the API server; nil: as pods do
	Names      discovery.Names // the names whose problems are logged; nil: all
	Log        *zap.Logger     // nil: no log
}

// Run watches the API server until ctx ends.
func (s Source) Run(ctx context.Context, sink discovery.Sink) {
	if s.Log == nil {
		s.Log = zap.NewNop()
	}
	w, err := newWatch(s, sink)
	if err != nil {
		s.Log.Error("cannot use the API server of Kubernetes: run the edge in a pod with a service account, as deploy/kubernetes does, or leave out the option kubernetes", zap.Error(err))
		sink.SetOnline(false)
		<-ctx.Done()
		return
	}
	w.run(ctx)
}

// watch is a running source.
type watch struct {
	Source
	sink      discovery.Sink
	directory *discovery.Directory

	slices []cache.SharedIndexInformer // one for each namespace
	pods   []cache.SharedIndexInformer

	mu      sync.Mutex
	touched map[string]bool // services, as namespace/name, whose pods may have changed
	wake    chan struct{}   // has a value if there is one
	failing map[string]bool // what could not be watched, and was logged

	isOnline atomic.Bool // all names are set
}

// byService and byPod are the indexes of slices.
const (
	byService = "service"
	byPod     = "pod"
)

func newWatch(s Source, sink discovery.Sink) (*watch, error) {
	config := s.Config
	if config == nil {
		var err error
		if config, err = rest.InClusterConfig(); err != nil {
			return nil, err
		}
	}
	if len(s.Namespaces) == 0 {
		own, err := os.ReadFile(namespaceFile)
		if err != nil {
			return nil, fmt.Errorf("find the edge's own namespace: %w", err)
		}
		s.Namespaces = []string{strings.TrimSpace(string(own))}
	}
	w := &watch{
		Source: s, sink: sink, directory: discovery.NewDirectory(s.Namespaces, sink, s.Names, s.Log),
		touched: make(map[string]bool), wake: make(chan struct{}, 1), failing: make(map[string]bool),
	}
	sliceClient, err := newSliceClient(config)
	if err != nil {
		return nil, err
	}
	podClient, err := metadata.NewForConfig(config)
	if err != nil {
		return nil, err
	}
	namespaces := s.Namespaces
	if slices.Contains(namespaces, discovery.AnyProject) {
		namespaces = []string{metav1.NamespaceAll}
	}
	for _, namespace := range namespaces {
		list := cache.NewListWatchFromClient(sliceClient, "endpointslices", namespace, fields.Everything())
		w.slices = append(w.slices, cache.NewSharedIndexInformer(list, new(discoveryv1.EndpointSlice), 0, cache.Indexers{byService: sliceServices, byPod: slicePods}))
		pods := metadatainformer.NewFilteredMetadataInformer(podClient, schema.GroupVersionResource{Version: "v1", Resource: "pods"}, namespace, 0, cache.Indexers{}, nil)
		w.pods = append(w.pods, pods.Informer())
	}
	return w, w.prepare()
}

// newSliceClient returns a client of the API group of EndpointSlices alone: one of all groups would make the program much larger.
func newSliceClient(config *rest.Config) (rest.Interface, error) {
	scheme := runtime.NewScheme()
	if err := discoveryv1.AddToScheme(scheme); err != nil {
		return nil, err
	}
	config = rest.CopyConfig(config)
	config.GroupVersion, config.APIPath = &discoveryv1.SchemeGroupVersion, "/apis"
	config.NegotiatedSerializer = serializer.NewCodecFactory(scheme).WithoutConversion()
	return rest.RESTClientFor(config)
}

// prepare sets what happens when an informer sees a change, or can't.
func (w *watch) prepare() error {
	for i := range w.slices {
		for what, informer := range map[string]cache.SharedIndexInformer{"endpointslices": w.slices[i], "pods": w.pods[i]} {
			if err := informer.SetTransform(dropUnused); err != nil {
				return err
			}
			if err := informer.SetWatchErrorHandler(func(_ *cache.Reflector, err error) { w.handleError(what, err) }); err != nil {
				return err
			}
		}
		onSlice, onPod := w.touchSlice, func(object any) { w.touchPod(i, object) }
		if _, err := w.slices[i].AddEventHandler(handlers(onSlice)); err != nil {
			return err
		}
		if _, err := w.pods[i].AddEventHandler(handlers(onPod)); err != nil {
			return err
		}
	}
	return nil
}

// handlers calls f with each object before and after a change.
func handlers(f func(object any)) cache.ResourceEventHandler {
	return cache.ResourceEventHandlerFuncs{
		AddFunc: f,
		UpdateFunc: func(before, after any) {
			f(before)
			f(after)
		},
		DeleteFunc: func(object any) {
			if unknown, ok := object.(cache.DeletedFinalStateUnknown); ok {
				object = unknown.Obj
			}
			f(object)
		},
	}
}

// run publishes what the informers see, until ctx ends.
func (w *watch) run(ctx context.Context) {
	var wg sync.WaitGroup
	defer wg.Wait()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	synced := make(chan struct{})
	var all []cache.InformerSynced
	for _, informer := range slices.Concat(w.slices, w.pods) {
		wg.Go(func() { informer.RunWithContext(ctx) })
		all = append(all, informer.HasSynced)
	}
	wg.Go(func() {
		if cache.WaitForCacheSync(ctx.Done(), all...) {
			close(synced)
		}
	})
	select {
	case <-ctx.Done():
		return
	case <-synced:
	}
	services := 0
	for _, informer := range w.slices {
		for _, object := range informer.GetStore().List() {
			w.touchSlice(object)
		}
		services += len(informer.GetIndexer().ListIndexFuncValues(byService))
	}
	w.publish()
	w.isOnline.Store(true)
	w.sink.SetOnline(true)
	w.Log.Info("connected to the API server of Kubernetes", zap.Strings("namespaces", w.Namespaces), zap.Int("services", services))
	for {
		select {
		case <-ctx.Done():
			return
		case <-w.wake:
			w.publish()
		}
	}
}

// publish publishes the services that may have changed.
func (w *watch) publish() {
	w.mu.Lock()
	touched := w.touched
	w.touched = make(map[string]bool)
	w.mu.Unlock()
	services := make([]discovery.Service, 0, len(touched))
	for service := range touched {
		services = append(services, w.find(service))
	}
	w.directory.Update(services)
}

// touch notes that the pods of services may have changed.
func (w *watch) touch(services ...string) {
	w.mu.Lock()
	for _, s := range services {
		w.touched[s] = true
	}
	w.mu.Unlock()
	select {
	case w.wake <- struct{}{}:
	default:
	}
}

func (w *watch) touchSlice(object any) {
	if services, _ := sliceServices(object); len(services) > 0 {
		w.touch(services...)
	}
}

// touchPod notes that the services of a pod may have changed.
func (w *watch) touchPod(i int, object any) {
	pod, ok := object.(*metav1.PartialObjectMetadata)
	if !ok {
		return
	}
	with, _ := w.slices[i].GetIndexer().ByIndex(byPod, pod.Namespace+"/"+pod.Name) // the index exists
	for _, slice := range with {
		w.touchSlice(slice)
	}
}

// handleError logs why something can't be watched. The informer goes on trying.
func (w *watch) handleError(what string, err error) {
	if apierrors.IsResourceExpired(err) || apierrors.IsGone(err) {
		return // it lists again
	}
	w.mu.Lock()
	isNew := !w.failing[what]
	w.failing[what] = true
	w.mu.Unlock()
	if isNew {
		if status := apierrors.ReasonForError(err); status == metav1.StatusReasonForbidden || apierrors.IsUnauthorized(err) {
			err = fmt.Errorf("%w: give the edge's service account a role with get, list and watch of %s (%s)", err, what, http.StatusText(http.StatusForbidden))
		}
		w.Log.Warn("cannot watch "+what+" in Kubernetes; using the last known pods until that works", zap.Error(err))
	}
	if !w.isOnline.Load() {
		w.sink.SetOnline(false) // the start must not wait for it
	}
}

var _ discovery.Source = Source{}
