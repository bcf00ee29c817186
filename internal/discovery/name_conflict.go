package discovery

import (
	"fmt"
	"slices"
	"strings"
)

// nameConflict is which projects answer to a name.
type nameConflict struct {
	name   string
	served []string // the projects that are served; none: all
	owners []string // projects that are served and answer to the name; "": Compose did not create the container
	others []string // projects that are not served and answer to it
}

// problem returns what the operator must change, or know; "" if it is nothing.
func (c nameConflict) problem() string {
	switch {
	case len(c.owners) > 1:
		return fmt.Sprintf("%s answer to %s; write in the route which one is meant: %s", c.list(c.owners), c.name, c.choices(c.owners))
	case len(c.others) == 0:
		return ""
	case len(c.owners) == 1:
		verb := "answers"
		if len(c.others) > 1 {
			verb = "answer"
		}
		return fmt.Sprintf("%s %s to %s too; only %s is used", c.list(c.others), verb, c.name, c.list(c.owners))
	case strings.Contains(c.name, "/"):
		return fmt.Sprintf("the edge does not serve project %s; write `%s` in the global option edge", c.others[0], c.line(c.others))
	case len(c.others) > 1:
		return fmt.Sprintf("the edge serves %s, which has no %s; %s have one: write in the route which one is meant: %s",
			c.list(c.served), c.name, c.list(c.others), c.choices(c.others))
	}
	return fmt.Sprintf("the edge serves %s, which has no %s; %s has one: write `%s` in the global option edge, or %s in the route",
		c.list(c.served), c.name, c.list(c.others), c.line(c.others), c.choices(c.others))
}

// line returns the option that serves more projects.
func (c nameConflict) line(more []string) string {
	return "projects " + strings.Join(slices.Concat(c.served, more), " ")
}

// maxListed is how many projects a problem names. A host may have a hundred with a service db.
const maxListed = 4

// choices returns the names that say which project is meant.
func (c nameConflict) choices(projects []string) string {
	var names []string
	for _, p := range projects[:min(maxListed, len(projects))] {
		if p != "" {
			names = append(names, p+"/"+c.name)
		}
	}
	if len(projects) > maxListed {
		names = append(names, "…")
	}
	return strings.Join(names, " or ")
}

func (nameConflict) list(projects []string) string {
	var texts []string
	for _, p := range projects[:min(maxListed, len(projects))] {
		if p == "" {
			texts = append(texts, "a container of no project")
		} else {
			texts = append(texts, "project "+p)
		}
	}
	if left := len(projects) - maxListed; left > 0 {
		texts = append(texts, fmt.Sprintf("%d more", left))
	}
	return strings.Join(texts, " and ")
}
