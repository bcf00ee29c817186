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

// listRequest is which containers to list: all, or some.
type listRequest struct {
	all bool
	ids map[string]struct{}
}

func (q *listRequest) add(id string) {
	if q.ids == nil {
		q.ids = make(map[string]struct{})
	}
	q.ids[id] = struct{}{}
}

// asyncClient asks the Engine beside the loop that follows its events: one list and one ping at a time. The loop owns it.
type asyncClient struct {
	api     *client.Client
	wg      *sync.WaitGroup
	results chan engineResult

	listing, pinging bool
}

// engineResult is what came of a ping, or of a list of ids; nil ids means all.
type engineResult struct {
	inFlight *bool // listing or pinging
	ids      []string
	items    []container.Summary
	isList   bool
	err      error
}

// list begins to list what is wanted and returns what is still wanted after that: nothing, or, while another list is
// under way, the same.
func (e *asyncClient) list(ctx context.Context, want listRequest) listRequest {
	if e.listing || !want.all && len(want.ids) == 0 {
		return want
	}
	e.listing = true
	var ids []string
	if !want.all {
		ids = slices.Collect(maps.Keys(want.ids))
	}
	e.wg.Go(func() {
		items, err := listContainers(ctx, e.api, ids)
		e.results <- engineResult{inFlight: &e.listing, ids: ids, items: items, isList: true, err: err}
	})
	return listRequest{}
}

// ping begins to ask whether the Engine is still there.
func (e *asyncClient) ping(ctx context.Context) {
	if e.pinging {
		return
	}
	e.pinging = true
	e.wg.Go(func() { e.results <- engineResult{inFlight: &e.pinging, err: ping(ctx, e.api)} })
}

// listContainers lists containers by ID, or all.
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
