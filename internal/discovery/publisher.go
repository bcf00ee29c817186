package discovery

import (
	"slices"

	"go.uber.org/zap"
)

// publisher writes the members and problems of names to a sink, and logs each new problem.
type publisher struct {
	sink   Sink
	names  Names // whose problems are logged; nil: all
	log    *zap.Logger
	logged map[string]string // name → the problem that was logged last
}

func newPublisher(sink Sink, names Names, log *zap.Logger) *publisher {
	return &publisher{sink: sink, names: names, log: log, logged: make(map[string]string)}
}

func (p *publisher) publish(index *containerIndex, touched nameSet) {
	for name := range touched {
		members, problem := index.members(name)
		p.logProblem(name, problem)
		p.sink.SetProblem(name, problem)
		p.sink.Set(name, members)
	}
}

func (p *publisher) logProblem(name, problem string) {
	if problem == "" {
		delete(p.logged, name)
		return
	}
	if p.logged[name] != problem && p.isServiceName(name) {
		p.logged[name] = problem
		p.log.Error(problem, zap.String("name", name))
	}
}

// isServiceName reports whether a service has the name; problems of other names concern nobody.
func (p *publisher) isServiceName(name string) bool {
	return p.names == nil || slices.Contains(p.names.Hosts(), name)
}
