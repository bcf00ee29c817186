package socketio

// Socket is a client in the default namespace. Its methods are safe for concurrent use.
type Socket struct{ session *session }

// Transport returns how the socket's packets travel now: "polling" or "websocket".
func (k *Socket) Transport() string { return string(k.session.currentTransport()) }

// Emit sends an event with one argument. It doesn't wait, and does nothing once the socket has ended.
// It fails if the argument has no JSON form.
func (k *Socket) Emit(event string, argument any) error {
	m, err := newEvent(event, argument)
	if err != nil {
		return err
	}
	k.session.send(m)
	return nil
}

// send queues a message for the client if it is in the namespace.
func (s *session) send(m message) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.socket != nil {
		s.pushLocked(m.packet())
	}
}
