package backup

import (
	"cmp"
	"context"
	"maps"
	"slices"
)

// closeServices has the edge show the maintenance page for the services that are going to be stopped. Without an edge, their visitors get
// errors.
func (r *restoreRun) closeServices(ctx context.Context) {
	if r.isDrill {
		return
	}
	for _, service := range r.serviceNames() {
		if err := r.edge.maintenance(ctx, "on", service, "--message", "The data of this application is being restored."); err == nil {
			r.journal.Closed = append(r.journal.Closed, service)
		}
	}
}

// openServices ends the maintenance that closeServices has begun.
func (r *restoreRun) openServices(ctx context.Context) {
	for _, service := range r.journal.Closed {
		if err := r.edge.maintenance(ctx, "off", service); err != nil {
			r.progress.printLine("warning: %s is still in maintenance: %v", service, err)
		}
	}
}

// sortedKeys returns the keys of a map, sorted.
func sortedKeys[K cmp.Ordered, V any](m map[K]V) []K { return slices.Sorted(maps.Keys(m)) }
