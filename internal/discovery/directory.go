package discovery

import (
	"net/netip"
	"strings"

	"go.uber.org/zap"
)

// Directory has the containers of the services of an orchestrator, and writes the members of their names to a sink. It is for a source outside of
// this package that learns from its orchestrator which services there are. It is not safe for concurrent use.
type Directory struct {
	index     *containerIndex
	publisher *publisher
	ids       map[string][]string // in the index, by service
}

// Service is an orchestrator's service, to whose name and project/name its containers answer.
type Service struct {
	Project string // or namespace
	Name    string // within the project
	// IsKnown says that the orchestrator has the service, so that requests wait for a container while there is none.
	IsKnown    bool
	Containers []Container // of a known service; may be none
}

// Container is a running container of a Service.
type Container struct {
	ID              string     // a container of several services has the same in each
	Name            string     // within the service, as logs show it
	Addr            netip.Addr // at which the edge reaches it
	IsStopping      bool       // its orchestrator wants it stopped
	UnhealthyReason string     // why it must not be used although it runs; "": it may be used
}

// NewDirectory returns a directory without services, which writes to sink. Only the services of these projects are served; with AnyProject, or no
// project, all are. It logs the problems of names, or of all names if names is nil.
func NewDirectory(projects []string, sink Sink, names Names, log *zap.Logger) *Directory {
	return &Directory{
		index:     newContainerIndex(scope{projects: projects, networks: []string{directoryNetwork}}),
		publisher: newPublisher(sink, names, log),
		ids:       make(map[string][]string),
	}
}

// directoryNetwork is the network of all containers of a directory.
const directoryNetwork = "directory"

// Update replaces these services with their containers, and then sets the names of both the former and the present ones.
func (d *Directory) Update(services []Service) {
	touched := make(nameSet)
	for _, s := range services {
		touched.add(d.replace(s)...)
	}
	d.publisher.publish(d.index, touched)
}

// replace replaces a service, and returns the names whose members may have changed.
func (d *Directory) replace(s Service) (touched []string) {
	name := s.fullName()
	former := make(idSet)
	for _, id := range d.ids[name] {
		former[id] = struct{}{}
	}
	delete(d.ids, name)
	for _, c := range s.containers() {
		touched = append(touched, d.index.put(c)...)
		d.ids[name] = append(d.ids[name], c.id)
		delete(former, c.id)
	}
	for id := range former {
		touched = append(touched, d.index.remove(id)...)
	}
	return touched
}

func (s Service) fullName() string { return s.Project + "/" + s.Name }

// containers returns the containers of a service, and a stopped one that makes the service known; none if it is not known.
func (s Service) containers() []containerInfo {
	if !s.IsKnown {
		return nil
	}
	service := strings.ToLower(s.Name)
	known := containerInfo{id: "service " + s.fullName(), project: s.Project, service: service, names: []string{service, strings.ToLower(s.fullName())}}
	all := []containerInfo{known}
	for _, c := range s.Containers {
		all = append(all, containerInfo{
			id: s.fullName() + " " + c.ID, memberID: c.ID, project: s.Project, service: service, names: known.names, displayName: s.Project + "/" + service + "/" + c.Name,
			running: true, isStopping: c.IsStopping, unhealthyReason: c.UnhealthyReason,
			networks: map[string][]netip.Addr{directoryNetwork: {c.Addr}},
		})
	}
	return all
}
