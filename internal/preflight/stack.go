package preflight

import (
	"slices"

	"github.com/theworklabs/edge/internal/compose"
)

// stack is a project as its compose files describe it, with the services of all profiles, and the abilities of the Docker
// Engine.
type stack struct {
	*compose.Stack
	activeNames     []string // services of the profiles that are in use, sorted
	unsetVariables  []string // variables that the compose files use and nobody sets, sorted
	edge            *compose.Service
	hasEngine       bool // the Docker Engine answers
	otherContainers []otherContainer
	others          map[string]*stack // other projects, by name; nil if the compose files can't be read

	// resolvesHostnames says whether Docker's DNS knows containers by their hostname, as from Docker Engine 25 on.
	resolvesHostnames bool
}

// activeServices returns the services of the profiles that are in use, sorted by name.
func (s *stack) activeServices() []*compose.Service {
	var all []*compose.Service
	for _, name := range s.activeNames {
		all = append(all, s.Services[name])
	}
	return all
}

// isActive reports whether a service is of a profile that is in use.
func (s *stack) isActive(name string) bool { return slices.Contains(s.activeNames, name) }

// checkVariables reports variables without a value, for which Compose takes an empty string. A $ inside a value looks like one.
func checkVariables(s *stack) []Finding {
	var all []Finding
	for _, name := range s.unsetVariables {
		all = append(all, warningFinding("compose file", "set it in .env, or write ${"+name+":-} if it may be empty; a literal $ is written $$ in a compose file, and in single quotes in .env", "the variable %s is not set, and Compose replaces it by an empty string", name))
	}
	return all
}
