package discovery

import (
	"maps"
	"slices"

	"github.com/moby/moby/api/types/container"
	"go.uber.org/zap"
)

// handleResult takes in an answer of the Engine.
func (s *session) handleResult(a engineResult) {
	*a.inFlight = false
	switch {
	case !a.isList:
	case a.ids == nil:
		s.applyFullList(a.items)
	default:
		s.applyPartialList(a.ids, a.items)
	}
}

// applyFullList takes in all containers, and forgets those that are not listed; but not those that an event told of lately,
// which the list may not know yet.
func (s *session) applyFullList(items []container.Summary) {
	touched := make(map[string]struct{})
	gone := maps.Clone(s.index.containers)
	for _, c := range items {
		delete(gone, c.ID)
		if b, ok := newContainerInfo(c); ok {
			addNames(touched, s.index.put(b))
		}
	}
	for id := range gone {
		if _, recent := s.relists[id]; !recent {
			addNames(touched, s.removeContainer(id))
		}
	}
	s.index.subnets = s.Subnets()
	s.index.detectOwnProject()
	s.publish(touched)
}

// applyPartialList takes in a few containers that were asked for.
func (s *session) applyPartialList(ids []string, items []container.Summary) {
	touched := make(map[string]struct{})
	for _, id := range ids {
		addNames(touched, s.index.containers[id].names)
		i := slices.IndexFunc(items, func(c container.Summary) bool { return c.ID == id })
		if i < 0 {
			addNames(touched, s.removeContainer(id))
			continue
		}
		if b, ok := newContainerInfo(items[i]); ok {
			addNames(touched, s.index.put(b))
		}
	}
	before, subnets := s.index.servedProject(), s.Subnets()
	same := slices.Equal(s.index.subnets, subnets)
	s.index.subnets = subnets
	s.index.detectOwnProject()
	if !same || s.index.servedProject() != before {
		// the edge itself came to a network, left one, or was found: everyone may be in or out of reach
		addNames(touched, slices.Collect(maps.Keys(s.index.byName)))
	}
	s.publish(touched)
}

// removeContainer drops a container and all that is known of it, and returns the names it had.
func (s *session) removeContainer(id string) []string {
	delete(s.terminationDeadlines, id)
	delete(s.index.diedAt, id)
	delete(s.index.terminating, id)
	return s.index.remove(id)
}

// publish tells the sink of every touched name.
func (s *session) publish(touched map[string]struct{}) {
	for name := range touched {
		members, problem := s.index.members(name)
		if problem == "" {
			delete(s.loggedProblems, name)
		} else if s.loggedProblems[name] != problem && s.isServiceName(name) {
			s.loggedProblems[name] = problem
			s.Log.Error(problem, zap.String("name", name))
		}
		s.sink.SetProblem(name, problem)
		s.sink.Set(name, members)
	}
}

// isServiceName reports whether some service stands on the name: nobody needs to hear of others.
func (s *session) isServiceName(name string) bool {
	return s.Names == nil || slices.Contains(s.Names.Hosts(), name)
}

func addNames(set map[string]struct{}, names []string) {
	for _, n := range names {
		set[n] = struct{}{}
	}
}
