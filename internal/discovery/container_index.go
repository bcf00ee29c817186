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

// containerIndex is all containers that the Engine has listed, by ID and by the names they answer to. Not safe for
// concurrent use: the Engine source owns it.
type containerIndex struct {
	project  string   // the project whose services are used; "": that of the edge itself, if it has one
	networks []string // those used; none: all that the edge has an address in
	subnets  []netip.Prefix

	ownProject  string // the edge's own project, once found
	containers  map[string]containerInfo
	byName      map[string]map[string]struct{}
	terminating map[string]struct{}  // IDs of containers that were told to stop
	diedAt      map[string]time.Time // IDs of containers that died lately, and when that was seen
}

// maxListLag is how long the Engine's list may go on showing a container as running after its death: the event is sent
// before the list is updated.
const maxListLag = 10 * time.Second

func newContainerIndex(project string, networks []string) *containerIndex {
	return &containerIndex{
		project: project, networks: networks,
		containers:  make(map[string]containerInfo),
		byName:      make(map[string]map[string]struct{}),
		terminating: make(map[string]struct{}),
		diedAt:      make(map[string]time.Time),
	}
}

// markDead notes that a container died, and returns the names it had.
func (r *containerIndex) markDead(id string) []string {
	r.diedAt[id] = time.Now()
	b, ok := r.containers[id]
	if !ok {
		return nil
	}
	b.running = false
	return r.put(b)
}

// put takes in a container and returns the names whose members may have changed.
func (r *containerIndex) put(b containerInfo) []string {
	touched := append(r.remove(b.id), b.names...)
	if at, dead := r.diedAt[b.id]; dead && time.Since(at) < maxListLag {
		b.running = false
	} else if dead {
		delete(r.diedAt, b.id)
	}
	r.containers[b.id] = b
	for _, n := range b.names {
		ids := r.byName[n]
		if ids == nil {
			ids = make(map[string]struct{})
			r.byName[n] = ids
		}
		ids[b.id] = struct{}{}
	}
	if !b.running {
		delete(r.terminating, b.id)
	}
	return touched
}

// remove forgets a container and returns the names it had.
func (r *containerIndex) remove(id string) []string {
	b, ok := r.containers[id]
	if !ok {
		return nil
	}
	delete(r.containers, id)
	for _, n := range b.names {
		delete(r.byName[n], id)
		if len(r.byName[n]) == 0 {
			delete(r.byName, n)
		}
	}
	return slices.Clone(b.names)
}

// detectOwnProject looks for the container whose address is one of this machine's own: it is the edge, and its project is
// the edge's.
func (r *containerIndex) detectOwnProject() {
	r.ownProject = ""
	for _, b := range r.containers {
		for _, addrs := range b.networks {
			for _, a := range addrs {
				if slices.ContainsFunc(r.subnets, func(p netip.Prefix) bool { return p.Addr() == a }) {
					r.ownProject = b.project
				}
			}
		}
	}
}

// servedProject returns the project whose services are used; "" means all.
func (r *containerIndex) servedProject() string {
	if r.project != "" {
		return r.project
	}
	return r.ownProject
}

// address returns where the edge reaches the container, by the first of its networks in the order of their names;
// IPv4 before IPv6. The zero Addr: nowhere.
func (r *containerIndex) address(b containerInfo) netip.Addr {
	for _, network := range slices.Sorted(maps.Keys(b.networks)) {
		if len(r.networks) > 0 && !slices.Contains(r.networks, network) {
			continue
		}
		for _, a := range b.networks[network] {
			if len(r.networks) > 0 || inSubnets(a, r.subnets) {
				return a
			}
		}
	}
	return netip.Addr{}
}

// members returns who answers to a name, sorted by ID, and what is wrong about it.
func (r *containerIndex) members(name string) (members []registry.Member, problem string) {
	project := r.servedProject()
	others := make(map[string]struct{}) // projects that have a service of this name, though they should not
	for id := range r.byName[name] {
		b := r.containers[id]
		addr := r.address(b)
		if b.project != project && (project != "" || b.project != "") {
			if b.service == name && (project == "" || addr.IsValid()) {
				others[b.project] = struct{}{}
			}
			if project != "" {
				continue
			}
		}
		_, leaving := r.terminating[id]
		members = append(members, b.member(addr, leaving))
	}
	slices.SortFunc(members, func(a, b registry.Member) int { return strings.Compare(a.ID, b.ID) })
	return r.resolveProjectConflict(name, project, members, others)
}

// resolveProjectConflict says what is wrong when containers of several projects answer to one name.
func (r *containerIndex) resolveProjectConflict(name, project string, members []registry.Member, others map[string]struct{}) ([]registry.Member, string) {
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
