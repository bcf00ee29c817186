package discovery

import (
	"maps"
	"net/netip"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/moby/moby/api/types/container"

	"github.com/theworklabs/edge/internal/registry"
)

// containerIndex holds the containers that the Docker Engine has listed, by ID and by the names that they answer to, and what events
// said about them. Its methods return the names whose members may have changed. It is not safe for concurrent use.
type containerIndex struct {
	scope      scope
	containers map[string]containerInfo
	byName     map[string]map[string]idSet // name → project → IDs
	events     eventStates                 // also of containers that are not listed
	dependents map[string]nameSet          // project/job → the names of containers that are not restarted while the job runs
}

func newContainerIndex(s scope) *containerIndex {
	return &containerIndex{
		scope:      s,
		containers: make(map[string]containerInfo),
		byName:     make(map[string]map[string]idSet),
		events:     make(eventStates),
		dependents: make(map[string]nameSet),
	}
}

// applyFullList replaces all containers. It keeps those that are not listed if they are to be listed again after an event, because
// the list may be older than the event.
func (x *containerIndex) applyFullList(items []container.Summary, subnets []netip.Prefix) nameSet {
	touched := make(nameSet)
	missing := maps.Clone(x.containers)
	for _, item := range items {
		delete(missing, item.ID)
		if c, ok := newContainerInfo(item); ok {
			touched.add(x.put(c)...)
		}
	}
	for id := range missing {
		if e := x.events[id]; e.relistAt.IsZero() {
			touched.add(x.remove(id)...)
		}
	}
	x.updateScope(subnets, touched)
	return touched
}

// applyAll replaces all containers by these. It is for a source without events.
func (x *containerIndex) applyAll(all []containerInfo, subnets []netip.Prefix) nameSet {
	touched := make(nameSet)
	missing := maps.Clone(x.containers)
	for _, c := range all {
		before, isKnown := x.containers[c.id]
		delete(missing, c.id)
		if c.addr = before.addr; !isKnown || !reflect.DeepEqual(c, before) {
			touched.add(x.put(c)...)
		}
	}
	for id := range missing {
		touched.add(x.remove(id)...)
	}
	x.updateScope(subnets, touched)
	return touched
}

// applyPartialList replaces the containers with these IDs.
func (x *containerIndex) applyPartialList(ids []string, items []container.Summary, subnets []netip.Prefix) nameSet {
	touched := make(nameSet)
	for _, id := range ids {
		touched.add(x.containers[id].names...)
		i := slices.IndexFunc(items, func(item container.Summary) bool { return item.ID == id })
		if i < 0 {
			touched.add(x.remove(id)...)
			continue
		}
		if c, ok := newContainerInfo(items[i]); ok {
			touched.add(x.put(c)...)
		}
	}
	x.updateScope(subnets, touched)
	return touched
}

func (x *containerIndex) updateScope(subnets []netip.Prefix, touched nameSet) {
	if x.scope.update(subnets, x.containers) {
		for id, c := range x.containers {
			c.addr = x.scope.address(c)
			x.containers[id] = c
		}
		touched.add(slices.Collect(maps.Keys(x.byName))...)
	}
}

// applyDeadlines takes back the stops of containers that have not died in time, and returns their names and the IDs of the
// containers to list again.
func (x *containerIndex) applyDeadlines(now time.Time) (touched nameSet, relist []string) {
	touched = make(nameSet)
	resumed, relist := x.events.applyDeadlines(now)
	for _, id := range resumed {
		touched.add(x.containers[id].names...)
	}
	return touched, relist
}

// markStopping records that Docker has told the container to stop.
func (x *containerIndex) markStopping(id string, expires time.Time) []string {
	e := x.events[id]
	e.stopExpires = expires
	x.events.set(id, e)
	return x.containers[id].names
}

// markDead records that the container died.
func (x *containerIndex) markDead(id string) []string {
	e := x.events[id]
	e.stopExpires, e.diedAt = time.Time{}, time.Now()
	x.events.set(id, e)
	c, ok := x.containers[id]
	if !ok {
		return nil
	}
	c.running = false
	return x.put(c)
}

// markDestroyed removes a container. A list that was requested before may still show it as running.
func (x *containerIndex) markDestroyed(id string) []string {
	names := x.remove(id)
	e := x.events[id]
	e.diedAt = time.Now()
	e.scheduleRelist(e.diedAt, 1)
	x.events.set(id, e)
	return names
}

// markStarted records that the container runs again.
func (x *containerIndex) markStarted(id string) {
	e := x.events[id]
	e.diedAt = time.Time{}
	x.events.set(id, e)
}

// setUnhealthyReason records why a running container must not be used; "" if it may be. The container is listed again later, when the
// list shows the change.
func (x *containerIndex) setUnhealthyReason(id, reason string) []string {
	c, ok := x.containers[id]
	if !ok {
		return nil
	}
	x.events.scheduleRelist(id, 1)
	c.unhealthyReason = reason
	return x.put(c)
}

// put adds or replaces a container.
func (x *containerIndex) put(c containerInfo) []string {
	touched := append(x.unlink(c.id), c.names...)
	touched = slices.AppendSeq(touched, maps.Keys(x.dependents[c.project+"/"+c.service]))
	for _, job := range c.jobs {
		key := c.project + "/" + job
		if x.dependents[key] == nil {
			x.dependents[key] = make(nameSet)
		}
		x.dependents[key].add(c.names...)
	}
	e := x.events[c.id]
	if time.Since(e.diedAt) < maxListLag {
		c.running = false
	} else {
		e.diedAt = time.Time{}
	}
	if !c.running {
		e.stopExpires = time.Time{}
	}
	x.events.set(c.id, e)
	c.addr = x.scope.address(c)
	x.containers[c.id] = c
	for _, n := range c.names {
		if x.byName[n] == nil {
			x.byName[n] = make(map[string]idSet)
		}
		if x.byName[n][c.project] == nil {
			x.byName[n][c.project] = make(idSet)
		}
		x.byName[n][c.project][c.id] = struct{}{}
	}
	return touched
}

// remove removes a container and what events said about it, except that it is to be listed again.
func (x *containerIndex) remove(id string) []string {
	e := x.events[id]
	e.stopExpires, e.diedAt = time.Time{}, time.Time{}
	x.events.set(id, e)
	return x.unlink(id)
}

// unlink removes a container from the maps, and returns the names that it had.
func (x *containerIndex) unlink(id string) []string {
	c, ok := x.containers[id]
	if !ok {
		return nil
	}
	delete(x.containers, id)
	for _, n := range c.names {
		projects := x.byName[n]
		if delete(projects[c.project], id); len(projects[c.project]) == 0 {
			delete(projects, c.project)
		}
		if len(projects) == 0 {
			delete(x.byName, n)
		}
	}
	return slices.Clone(c.names)
}

// members returns the members of a name, sorted by ID, and what is wrong about the name.
func (x *containerIndex) members(name string) (members []registry.Member, problem string) {
	conflict := nameConflict{name: name, served: x.scope.served()}
	for project, ids := range x.byName[name] {
		if !x.scope.serves(conflict.served, project, name) {
			if project != "" && x.isReachable(ids, name) {
				conflict.others = append(conflict.others, project)
			}
			continue
		}
		conflict.owners = append(conflict.owners, project)
		for id := range ids {
			e := x.events[id]
			m := x.containers[id].member(e.isStopping())
			m.ShouldRestart = m.ShouldRestart && !x.hasRunningJob(x.containers[id])
			members = append(members, m)
		}
	}
	if len(conflict.owners) > 1 {
		members = nil // they belong to different applications
	}
	slices.SortFunc(members, func(a, b registry.Member) int { return strings.Compare(a.ID, b.ID) })
	slices.Sort(conflict.owners)
	slices.Sort(conflict.others)
	return members, conflict.problem()
}

// hasRunningJob reports whether a job runs that the container waits for when it starts: a health check that fails while a migration holds locks is no reason to start the application
// on half of it.
func (x *containerIndex) hasRunningJob(c containerInfo) bool {
	for _, job := range c.jobs {
		for id := range x.byName[job][c.project] {
			if x.containers[id].running {
				return true
			}
		}
	}
	return false
}

// isReachable reports whether the edge could reach one of the containers by the name of its service, or by a name with its project.
func (x *containerIndex) isReachable(ids idSet, name string) bool {
	for id := range ids {
		if c := x.containers[id]; c.addr.IsValid() && (c.service == name || strings.Contains(name, "/")) {
			return true
		}
	}
	return false
}

// idSet is a set of containers, by their IDs.
type idSet map[string]struct{}

// nameSet is a set of names whose members may have changed.
type nameSet map[string]struct{}

func (s nameSet) add(names ...string) {
	for _, n := range names {
		s[n] = struct{}{}
	}
}
