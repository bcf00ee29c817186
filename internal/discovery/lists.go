package discovery

import (
	"maps"
	"slices"

	"github.com/moby/moby/api/types/container"
	"go.uber.org/zap"
)

// take takes in an answer of the Engine.
func (s *session) take(a answer) {
	*a.by = false
	switch {
	case !a.list:
	case a.ids == nil:
		s.takeAll(a.items)
	default:
		s.takeSome(a.ids, a.items)
	}
}

// takeAll takes in all containers, and forgets those that are not listed; but not those that an event told of lately,
// which the list may not know yet.
func (s *session) takeAll(items []container.Summary) {
	touched := make(map[string]struct{})
	gone := maps.Clone(s.roster.boxes)
	for _, c := range items {
		delete(gone, c.ID)
		if b, ok := newBox(c); ok {
			touch(touched, s.roster.put(b))
		}
	}
	for id := range gone {
		if _, recent := s.looks[id]; !recent {
			touch(touched, s.forget(id))
		}
	}
	s.roster.subnets = s.Subnets()
	s.roster.findOwn()
	s.publish(touched)
}

// takeSome takes in a few containers that were asked for.
func (s *session) takeSome(ids []string, items []container.Summary) {
	touched := make(map[string]struct{})
	for _, id := range ids {
		touch(touched, s.roster.boxes[id].names)
		i := slices.IndexFunc(items, func(c container.Summary) bool { return c.ID == id })
		if i < 0 {
			touch(touched, s.forget(id))
			continue
		}
		if b, ok := newBox(items[i]); ok {
			touch(touched, s.roster.put(b))
		}
	}
	before, subnets := s.roster.inProject(), s.Subnets()
	same := slices.Equal(s.roster.subnets, subnets)
	s.roster.subnets = subnets
	s.roster.findOwn()
	if !same || s.roster.inProject() != before {
		// the edge itself came to a network, left one, or was found: everyone may be in or out of reach
		touch(touched, slices.Collect(maps.Keys(s.roster.byName)))
	}
	s.publish(touched)
}

// forget drops a container and all that is known of it, and returns the names it had.
func (s *session) forget(id string) []string {
	delete(s.drains, id)
	delete(s.roster.died, id)
	delete(s.roster.leaving, id)
	return s.roster.drop(id)
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
		s.sink.SetProblem(name, problem)
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
