package backup

import (
	"cmp"
	"context"
	"maps"
	"slices"
	"strings"
)

// closeServices has the edge show the maintenance page for the services that are going to be stopped. Without an edge, their visitors get
// errors. What an operator has put into maintenance stays as it is.
func (r *restoreRun) closeServices(ctx context.Context) {
	if r.isDrill {
		return
	}
	closed, _ := r.edge.closedServices(ctx) // an edge that does not answer closes none either
	for _, service := range r.serviceNames() {
		if isClosed(closed, r.stack.Name, service) {
			continue
		}
		// First the journal: what it does not name stays closed if this process ends here.
		before := r.journal.Closed
		r.journal.Closed = append(slices.Clone(before), service)
		err := r.journal.enter(phaseStaging)
		if err == nil {
			err = r.edge.maintenance(ctx, "on", service, "--message", "The data of this application is being restored.")
		}
		if err != nil { // such as a service without a route
			r.journal.Closed = before
		}
	}
}

// isClosed reports whether a service is one of those in maintenance. The edge names them by their addresses, such as web:8080,
// shop/web:8080 or web-1:8080,web-2:8080.
func isClosed(closed []string, project, service string) bool {
	for _, addresses := range closed {
		for address := range strings.SplitSeq(addresses, ",") {
			name, _, _ := strings.Cut(address, ":")
			if of, rest, hasProject := strings.Cut(name, "/"); hasProject && of == project {
				name = rest
			}
			if name == service {
				return true
			}
		}
	}
	return false
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
