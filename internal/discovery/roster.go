package discovery

import (
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/theworklabs/edge/internal/registry"
)

// roster is all containers that the Engine has listed, by ID and by the names they answer to. Not safe for
// concurrent use: the Engine source owns it.
type roster struct {
	project  string   // the project whose services are used; "": that of the edge itself, if it has one
	networks []string // those used; none: all that the edge has an address in
	subnets  []netip.Prefix

	own     string // the edge's own project, once found
	boxes   map[string]box
	byName  map[string]map[string]struct{}
	leaving map[string]struct{}  // IDs of containers that were told to stop
	died    map[string]time.Time // IDs of containers that died lately, and when that was seen
}

// deathLag is how long the Engine's list may go on showing a container as running after its death: the event is sent
// before the list is updated.
const deathLag = 10 * time.Second

func newRoster(project string, networks []string) *roster {
	return &roster{
		project: project, networks: networks,
		boxes:   make(map[string]box),
		byName:  make(map[string]map[string]struct{}),
		leaving: make(map[string]struct{}),
		died:    make(map[string]time.Time),
	}
}

// kill notes that a container died, and returns the names it had.
func (r *roster) kill(id string) []string {
	r.died[id] = time.Now()
	b, ok := r.boxes[id]
	if !ok {
		return nil
	}
	b.running = false
	return r.put(b)
}

// put takes in a container and returns the names whose members may have changed.
func (r *roster) put(b box) []string {
	touched := append(r.drop(b.id), b.names...)
	if at, dead := r.died[b.id]; dead && time.Since(at) < deathLag {
		b.running = false
	} else if dead {
		delete(r.died, b.id)
	}
	r.boxes[b.id] = b
	for _, n := range b.names {
		ids := r.byName[n]
		if ids == nil {
			ids = make(map[string]struct{})
			r.byName[n] = ids
		}
		ids[b.id] = struct{}{}
	}
	if !b.running {
		delete(r.leaving, b.id)
	}
	return touched
}

// drop forgets a container and returns the names it had.
func (r *roster) drop(id string) []string {
	b, ok := r.boxes[id]
	if !ok {
		return nil
	}
	delete(r.boxes, id)
	for _, n := range b.names {
		delete(r.byName[n], id)
		if len(r.byName[n]) == 0 {
			delete(r.byName, n)
		}
	}
	return slices.Clone(b.names)
}

// findOwn looks for the container whose address is one of this machine's own: it is the edge, and its project is
// the edge's.
func (r *roster) findOwn() {
	r.own = ""
	for _, b := range r.boxes {
		for _, addrs := range b.networks {
			for _, a := range addrs {
				if slices.ContainsFunc(r.subnets, func(p netip.Prefix) bool { return p.Addr() == a }) {
					r.own = b.project
				}
			}
		}
	}
}

// inProject returns the project whose services are used; "" means all.
func (r *roster) inProject() string {
	if r.project != "" {
		return r.project
	}
	return r.own
}

// address returns where the edge reaches the container, by the first of its networks in the order of their names;
// IPv4 before IPv6. The zero Addr: nowhere.
func (r *roster) address(b box) netip.Addr {
	for _, network := range slices.Sorted(maps.Keys(b.networks)) {
		if len(r.networks) > 0 && !slices.Contains(r.networks, network) {
			continue
		}
		for _, a := range b.networks[network] {
			if len(r.networks) > 0 || within(a, r.subnets) {
				return a
			}
		}
	}
	return netip.Addr{}
}

// members returns who answers to a name, sorted by ID, and what is wrong about it.
func (r *roster) members(name string) (members []registry.Member, problem string) {
	project := r.inProject()
	others := make(map[string]struct{}) // projects that have a service of this name, though they should not
	for id := range r.byName[name] {
		b := r.boxes[id]
		addr := r.address(b)
		if b.project != project && (project != "" || b.project != "") {
			if b.service == name && (project == "" || addr.IsValid()) {
				others[b.project] = struct{}{}
			}
			if project != "" {
				continue
			}
		}
		_, leaving := r.leaving[id]
		members = append(members, b.member(addr, leaving))
	}
	slices.SortFunc(members, func(a, b registry.Member) int { return strings.Compare(a.ID, b.ID) })
	return r.judge(name, project, members, others)
}

// judge says what is wrong when containers of several projects answer to one name.
func (r *roster) judge(name, project string, members []registry.Member, others map[string]struct{}) ([]registry.Member, string) {
	delete(others, "") // a container that Compose did not make is not a project
	list := strings.Join(slices.Sorted(maps.Keys(others)), ", ")
	switch {
	case len(others) == 0:
		return members, ""
	case project == "" && len(others) > 1:
		return nil, fmt.Sprintf("projects %s all answer to %s; set `project` to one of them", list, name)
	case project == "":
		return members, ""
	case len(members) == 0:
		return nil, fmt.Sprintf("project %s answers to %s, but the edge serves project %s; set `project`, or use another network", list, name, project)
	default:
		return members, fmt.Sprintf("project %s answers to %s too; only project %s is used: rename one, or use another network", list, name, project)
	}
}
