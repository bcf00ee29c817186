// Package backup stores the data of a Compose project's applications in a restic repository.
//
// Each application's data is a set: parts that belong together, and a manifest that describes them. The manifest is stored last, so a set
// without one is not complete, and is never used.
//
// It runs in an operator's shell and uses the docker command, as package rollout does: databases are dumped by the programs in their
// own containers.
package backup

import (
	"cmp"
	"fmt"
	"maps"
	"path"
	"slices"
	"strings"

	"github.com/theworklabs/edge/internal/compose"
	"github.com/theworklabs/edge/internal/hint"
)

// The labels of services.
const (
	KindLabel = "edge.backup"     // a [Kind]
	AppLabel  = "edge.backup.app" // the application that the service's data belongs to; default: the service's name
	// FirstLabel is the path of a directory whose files refer to others, and that is copied before them: what is added meanwhile is then complete, or not there.
	FirstLabel = "edge.backup.first"
)

// Kind says how a service's data is stored. It is the value of the label edge.backup.
type Kind string

// The kinds, in the order in which a set has them. Files come after the databases, so that every row that names a file has it.
const (
	MariaDB  Kind = "mariadb"
	Postgres Kind = "postgres"
	Mongo    Kind = "mongo"
	Redis    Kind = "redis"
	Files    Kind = "files" // the service's volumes, and the directories that it mounts
	None     Kind = "none"  // the service's volumes need no backup
)

var kinds = []Kind{MariaDB, Postgres, Mongo, Redis, Files, None}

// EdgeApp is the application to which the project's own files belong: compose files, .env and what services mount from the
// project's directory.
const EdgeApp = "edge"

// Plan says which data a backup stores.
type Plan struct {
	Project string
	Apps    []App // by name
}

// App is an application whose data is stored as one set.
type App struct {
	Name    string
	Sources []Source
}

// Source is a service whose data is stored.
type Source struct {
	Service string
	Kind    Kind
	Paths   []string // where its volumes are mounted; only for [Files]
	First   string   // a directory in one of them whose files refer to others, and are copied before them: its absolute path, or ""
}

// NewPlan reads the labels of a project's services. isDirectory tells whether a path of this machine is a directory.
func NewPlan(stack *compose.Stack, isDirectory func(path string) bool) (*Plan, error) {
	sources := make(map[string][]Source)
	for _, name := range stack.ServiceNames() {
		service := stack.Services[name]
		kind := Kind(service.Labels[KindLabel])
		app := cmp.Or(service.Labels[AppLabel], name)
		switch {
		case kind == "" && service.Labels[AppLabel] != "":
			return nil, fmt.Errorf("service %s has the label %s, but not %s", name, AppLabel, KindLabel)
		case kind == "" || kind == None:
			continue
		case !slices.Contains(kinds, kind):
			return nil, hint.New(fmt.Errorf("service %s has the label %s: %s", name, KindLabel, kind), "it is one of "+joinKinds())
		case !isName(app):
			return nil, hint.New(fmt.Errorf("service %s has the label %s: %q", name, AppLabel, app), "use letters, digits, - and _")
		}
		s := Source{Service: name, Kind: kind}
		if kind == Files {
			s.Paths = dataPaths(service, isDirectory)
			if len(s.Paths) == 0 {
				return nil, hint.New(fmt.Errorf("service %s has the label %s: files, but no volume, and mounts no directory that it can write to", name, KindLabel), "put the label on the service that has the files")
			}
			s.First = service.Labels[FirstLabel]
			if s.First != "" && !slices.ContainsFunc(s.Paths, func(dir string) bool { return s.First != dir && isInside(s.First, dir) }) {
				return nil, hint.New(fmt.Errorf("service %s has the label %s: %s", name, FirstLabel, s.First), "it is a directory inside of one of its volumes: "+strings.Join(s.Paths, ", "))
			}
		}
		sources[app] = append(sources[app], s)
	}
	if len(sources) == 0 {
		return nil, hint.New(
			fmt.Errorf("no service of the project %s has the label %s", stack.Name, KindLabel),
			"label each database and each service with files, such as "+KindLabel+": postgres; see docs/backup.md",
		)
	}
	if sources[EdgeApp] == nil {
		sources[EdgeApp] = []Source{}
	}
	p := &Plan{Project: stack.Name}
	for _, app := range slices.Sorted(maps.Keys(sources)) {
		all := sources[app]
		slices.SortStableFunc(all, func(a, b Source) int { return slices.Index(kinds, a.Kind) - slices.Index(kinds, b.Kind) })
		p.Apps = append(p.Apps, App{app, all})
	}
	return p, nil
}

// Select returns the plan for some applications only; for all if names is empty.
func (p *Plan) Select(names []string) (*Plan, error) {
	if len(names) == 0 {
		return p, nil
	}
	selected := &Plan{Project: p.Project}
	for _, name := range names {
		i := slices.IndexFunc(p.Apps, func(a App) bool { return a.Name == name })
		if i < 0 {
			return nil, hint.New(fmt.Errorf("the project %s has no application %q", p.Project, name), "there are: "+strings.Join(p.names(), ", "))
		}
		if !slices.ContainsFunc(selected.Apps, func(a App) bool { return a.Name == name }) {
			selected.Apps = append(selected.Apps, p.Apps[i])
		}
	}
	return selected, nil
}

func (p *Plan) names() (names []string) {
	for _, a := range p.Apps {
		names = append(names, a.Name)
	}
	return names
}

// String returns the plan as text, a line for each application.
func (p *Plan) String() string {
	var b strings.Builder
	for _, a := range p.Apps {
		var items []string
		for _, s := range a.Sources {
			item := s.Service + " (" + string(s.Kind)
			if len(s.Paths) > 0 {
				item += ": " + strings.Join(s.Paths, ", ")
			}
			items = append(items, item+")")
		}
		if a.Name == EdgeApp {
			items = append(items, "the project's files")
		}
		fmt.Fprintf(&b, "%s: %s\n", a.Name, strings.Join(items, ", "))
	}
	return b.String()
}

// Uncovered returns the volumes of a project, and the directories that its services mount and can write to, that no service with the label
// edge.backup has: keys of volumes in the compose file, and paths of directories.
func Uncovered(stack *compose.Stack, isDirectory func(path string) bool) []string {
	uncovered, covered := make(map[string]bool), make(map[string]bool)
	for name, v := range stack.Volumes {
		if !v.IsInMemory() {
			uncovered[name] = true
		}
	}
	for _, service := range stack.Services {
		for _, m := range service.Volumes {
			switch {
			case !isData(m, isDirectory):
			case isCovered(service, m, isDirectory):
				covered[m.Source] = true
			default:
				uncovered[m.Source] = true
			}
		}
	}
	maps.DeleteFunc(uncovered, func(name string, _ bool) bool { return covered[name] })
	return slices.Sorted(maps.Keys(uncovered))
}

// databaseDirectories are where the images of databases keep their data.
var databaseDirectories = map[Kind][]string{
	MariaDB: {"/var/lib/mysql"}, Postgres: {"/var/lib/postgresql"}, Mongo: {"/data/db", "/data/configdb"}, Redis: {"/data"},
}

// isCovered reports whether the label of a service says what is done with a mount. That of a database is for its data alone: if it mounts something besides, as an archive, no backup has
// that. Variables such as PGDATA name other directories.
func isCovered(service *compose.Service, m compose.Mount, isDirectory func(path string) bool) bool {
	directories := databaseDirectories[Kind(service.Labels[KindLabel])]
	if len(directories) == 0 || len(dataPaths(service, isDirectory)) == 1 {
		return service.Labels[KindLabel] != ""
	}
	for _, value := range service.Environment {
		if value != nil && path.IsAbs(*value) {
			directories = append(slices.Clone(directories), *value)
		}
	}
	target := path.Clean(m.Target)
	return slices.ContainsFunc(directories, func(dir string) bool { return isInside(target, dir) || isInside(dir, target) })
}

// isData reports whether a mount may have data: it is a named volume, or a directory of this machine that the service can write to.
func isData(m compose.Mount, isDirectory func(path string) bool) bool {
	return m.Type == "volume" && m.Source != "" || m.Type == "bind" && !m.ReadOnly && isDirectory(m.Source)
}

// dataPaths returns where the service mounts data, sorted.
func dataPaths(service *compose.Service, isDirectory func(path string) bool) (paths []string) {
	for _, m := range service.Volumes {
		if isData(m, isDirectory) {
			paths = append(paths, path.Clean(m.Target))
		}
	}
	slices.Sort(paths)
	return slices.Compact(paths)
}

func joinKinds() string {
	var texts []string
	for _, k := range kinds {
		texts = append(texts, string(k))
	}
	return strings.Join(texts, ", ")
}

// isName reports whether a name can be part of a tag and of a file's name.
func isName(name string) bool {
	return name != "" && !strings.ContainsFunc(name, func(r rune) bool {
		return !(r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || r == '-' || r == '_' || r == '.')
	})
}
