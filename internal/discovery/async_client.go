package discovery

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"sync"

	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/client"
)

// listRequest is which containers to list: all, or those with some IDs.
type listRequest struct {
	all bool
	ids map[string]struct{}
}

func (q *listRequest) add(ids ...string) {
	if q.ids == nil {
		q.ids = make(map[string]struct{})
	}
	for _, id := range ids {
		q.ids[id] = struct{}{}
	}
}

// asyncClient sends requests to the Docker Engine in the background: at most one list and one ping at a time. The loop that receives
// the results owns it.
type asyncClient struct {
	api     *client.Client
	wg      *sync.WaitGroup   // of the goroutines; its owner waits
	results chan engineResult // with room for a list and a ping

	listing, pinging bool
}

// engineResult is the result of a ping or a list.
type engineResult struct {
	inFlight *bool    // listing or pinging, which the receiver of the result sets to false
	ids      []string // of the listed containers; nil: all
	items    []container.Summary
	isList   bool
	err      error
}

// list starts to list the requested containers. It returns the request that remains: none, or the same one while another list is in
// flight.
func (e *asyncClient) list(ctx context.Context, request listRequest) listRequest {
	if e.listing || !request.all && len(request.ids) == 0 {
		return request
	}
	e.listing = true
	var ids []string
	if !request.all {
		ids = slices.Collect(maps.Keys(request.ids))
	}
	e.wg.Go(func() {
		items, err := listContainers(ctx, e.api, ids)
		e.results <- engineResult{inFlight: &e.listing, ids: ids, items: items, isList: true, err: err}
	})
	return listRequest{}
}

// ping starts a ping, unless one is in flight.
func (e *asyncClient) ping(ctx context.Context) {
	if e.pinging {
		return
	}
	e.pinging = true
	e.wg.Go(func() { e.results <- engineResult{inFlight: &e.pinging, err: ping(ctx, e.api)} })
}

// listContainers lists the containers with these IDs; nil means all.
func listContainers(ctx context.Context, api *client.Client, ids []string) ([]container.Summary, error) {
	ctx, cancel := context.WithTimeout(ctx, engineTimeout)
	defer cancel()
	options := client.ContainerListOptions{All: true}
	if ids != nil {
		options.Filters = client.Filters{}.Add("id", ids...)
	}
	found, err := api.ContainerList(ctx, options)
	if err != nil {
		return nil, fmt.Errorf("list containers: %w", err)
	}
	return found.Items, nil
}
