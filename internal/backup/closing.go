package backup

import (
	"cmp"
	"context"
	"errors"
	"maps"
	"slices"

	"github.com/theworklabs/edge/internal/compose"
)

// closeServices has the edge show the maintenance page for the services that are going to be stopped. Without an edge, their visitors get
// errors.
func (r *restoreRun) closeServices(ctx context.Context) {
	if r.isDrill {
		return
	}
	for _, service := range r.serviceNames() {
		if err := r.edgeMaintenance(ctx, "on", service, "--message", "The data of this application is being restored."); err == nil {
			r.journal.Closed = append(r.journal.Closed, service)
		}
	}
}

// openServices ends the maintenance that closeServices has begun.
func (r *restoreRun) openServices(ctx context.Context) {
	for _, service := range r.journal.Closed {
		if err := r.edgeMaintenance(ctx, "off", service); err != nil {
			r.progress.printLine("warning: %s is still in maintenance: %v", service, err)
		}
	}
}

// edgeMaintenance runs `edge maintenance` in the container of the edge. It fails if the edge has no route to the service.
func (r *restoreRun) edgeMaintenance(ctx context.Context, operation, service string, flags ...string) error {
	all, err := compose.Containers(ctx, r.Docker, r.stack.Name, r.Edge)
	if err != nil {
		return err
	}
	for _, c := range all {
		if !c.IsUp() {
			continue
		}
		args := append([]string{"exec", c.ID, "edge", "maintenance", operation, service}, flags...)
		_, _, err := r.Docker.Run(ctx, args...)
		return err
	}
	return errNoEdge
}

// sortedKeys returns the keys of a map, sorted.
func sortedKeys[K cmp.Ordered, V any](m map[K]V) []K { return slices.Sorted(maps.Keys(m)) }

// errNoEdge says that the edge does not run.
var errNoEdge = errors.New("the edge does not run")
