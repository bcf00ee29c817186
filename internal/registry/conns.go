package registry

import "time"

// Conns are the connections that the request path keeps open to one endpoint. Each endpoint has its own, so that an idle
// connection never reaches the container that Docker gives the same address next. The registry calls the methods with the
// service locked: they must not block.
type Conns interface {
	// Close lets requests on connections finish, makes no new connection, and keeps none for later. It may be called
	// more than once.
	Close()
	// Abort breaks the connections, with the requests on them: the container at the other end is no longer reachable.
	Abort()
	// Drain closes upgraded connections with close frames, spread over window. The reason is a text for logs such as "its
	// container was told to stop".
	Drain(window time.Duration, reason string)
	// Resume cancels a drain for the upgraded connections that are still open.
	Resume()
	// CloseExisting closes the upgraded connections that are open now, as Drain does; later ones stay.
	CloseExisting(window time.Duration, reason string)
	// Traffic returns the bytes that upgraded connections have carried so far.
	Traffic() Traffic
}

// Traffic counts the bytes that upgraded connections have carried.
type Traffic struct {
	FromClients  uint64 `json:"from_clients"`
	FromEndpoint uint64 `json:"from_endpoint"`
}

func (t *Traffic) add(other Traffic) {
	t.FromClients += other.FromClients
	t.FromEndpoint += other.FromEndpoint
}

// CloseSockets closes the service's open sockets, spread over the close window, for a reason such as "maintenance".
// Sockets that clients open later stay.
func (s *Service) CloseSockets(reason string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, e := range s.endpoints {
		if e.conns != nil {
			e.conns.CloseExisting(s.settings.CloseWindow, reason)
		}
	}
}

// CloseSockets closes a service's open sockets, as [Service.CloseSockets] does. It does nothing for a service that is not
// declared.
func (r *Registry) CloseSockets(service, reason string) {
	r.mu.Lock()
	s := r.services[service]
	r.mu.Unlock()
	if s != nil {
		s.CloseSockets(reason)
	}
}
