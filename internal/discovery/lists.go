package discovery

import (
	"context"
	"fmt"
	"maps"
	"slices"

	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/client"
	"go.uber.org/zap"
)

// list takes in all containers, and forgets those that are not listed.
func (s *session) list(ctx context.Context, api *client.Client) error {
	ctx, cancel := context.WithTimeout(ctx, engineTimeout)
	defer cancel()
	found, err := api.ContainerList(ctx, client.ContainerListOptions{All: true})
	if err != nil {
		return fmt.Errorf("list containers: %w", err)
	}
	touched := make(map[string]struct{})
	gone := maps.Clone(s.roster.boxes)
	for _, c := range found.Items {
		delete(gone, c.ID)
		if b, ok := newBox(c); ok {
			touch(touched, s.roster.put(b))
		}
	}
	for id := range gone {
		delete(s.drains, id)
		delete(s.roster.died, id)
		delete(s.roster.leaving, id)
		touch(touched, s.roster.drop(id))
	}
	s.roster.subnets = s.Subnets()
	s.roster.findOwn()
	s.publish(touched)
	return nil
}

// listSome looks again at a few containers.
func (s *session) listSome(ctx context.Context, api *client.Client, ids []string) error {
	ctx, cancel := context.WithTimeout(ctx, engineTimeout)
	defer cancel()
	found, err := api.ContainerList(ctx, client.ContainerListOptions{All: true, Filters: client.Filters{}.Add("id", ids...)})
	if err != nil {
		return fmt.Errorf("list %d containers: %w", len(ids), err)
	}
	if !slices.Equal(s.roster.subnets, s.Subnets()) {
		return s.list(ctx, api) // the edge itself has joined or left a network: everyone may be in or out of reach
	}
	touched := make(map[string]struct{})
	for _, id := range ids {
		touch(touched, s.roster.boxes[id].names)
		i := slices.IndexFunc(found.Items, func(c container.Summary) bool { return c.ID == id })
		if i < 0 {
			s.roster.drop(id)
			continue
		}
		if b, ok := newBox(found.Items[i]); ok {
			touch(touched, s.roster.put(b))
		}
	}
	s.publish(touched)
	return nil
}

// publish tells the sink of every touched name.
func (s *session) publish(touched map[string]struct{}) {
	for name := range touched {
		members, problem := s.roster.members(name)
		if problem == "" {
			delete(s.complaints, name)
		} else if s.complaints[name] != problem && s.wanted(name) {
			s.complaints[name] = problem
			s.Log.Error(problem, zap.String("name", name))
		}
		s.sink.Problem(name, problem)
		s.sink.Set(name, members)
	}
}

// wanted reports whether some service stands on the name: nobody needs to hear of others.
func (s *session) wanted(name string) bool {
	return s.Names == nil || slices.Contains(s.Names.Hosts(), name)
}

func touch(set map[string]struct{}, names []string) {
	for _, n := range names {
		set[n] = struct{}{}
	}
}
