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

// inquiry is which containers to list: all, or some.
type inquiry struct {
	all bool
	ids map[string]struct{}
}

func (q *inquiry) add(id string) {
	if q.ids == nil {
		q.ids = make(map[string]struct{})
	}
	q.ids[id] = struct{}{}
}

// inquirer asks the Engine beside the loop that follows its events: one list and one ping at a time. The loop owns it.
type inquirer struct {
	api     *client.Client
	helpers *sync.WaitGroup
	answers chan answer

	listing, pinging bool
}

// answer is what came of a ping, or of a list of ids; nil ids means all.
type answer struct {
	by    *bool // listing or pinging
	ids   []string
	items []container.Summary
	list  bool
	err   error
}

// list begins to list what is wanted and returns what is still wanted after that: nothing, or, while another list is
// under way, the same.
func (e *inquirer) list(ctx context.Context, want inquiry) inquiry {
	if e.listing || !want.all && len(want.ids) == 0 {
		return want
	}
	e.listing = true
	var ids []string
	if !want.all {
		ids = slices.Collect(maps.Keys(want.ids))
	}
	e.helpers.Go(func() {
		items, err := fetch(ctx, e.api, ids)
		e.answers <- answer{by: &e.listing, ids: ids, items: items, list: true, err: err}
	})
	return inquiry{}
}

// ping begins to ask whether the Engine is still there.
func (e *inquirer) ping(ctx context.Context) {
	if e.pinging {
		return
	}
	e.pinging = true
	e.helpers.Go(func() { e.answers <- answer{by: &e.pinging, err: ping(ctx, e.api)} })
}

// fetch lists containers by ID, or all.
func fetch(ctx context.Context, api *client.Client, ids []string) ([]container.Summary, error) {
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
