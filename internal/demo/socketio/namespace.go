package socketio

import (
	"crypto/rand"
	"encoding/json"
)

// Socket is a client that is connected to the default namespace. It is safe for concurrent use.
type Socket struct{ session *session }

// Transport returns the socket's current transport: "polling" or "websocket".
func (k *Socket) Transport() string { return string(k.session.currentTransport()) }

// Emit sends an event with one argument. It does not wait, and does nothing once the socket has ended. If the argument has
// no JSON form, it returns an error.
func (k *Socket) Emit(event string, argument any) error {
	m, err := newEvent(event, argument)
	if err != nil {
		return err
	}
	k.session.send(m)
	return nil
}

// send queues a message if the client is connected to the namespace.
func (s *session) send(m message) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.socket != nil {
		s.pushLocked(m.packet())
	}
}

// handleMessage handles a message from the client. It returns an error if the message breaks the protocol.
func (s *session) handleMessage(text string) error {
	m, err := parseMessage(text)
	if err != nil {
		return err
	}
	switch {
	case m.namespace != "/":
		return s.rejectNamespace(m)
	case m.kind == messageConnect:
		return s.connect()
	case m.kind == messageDisconnect:
		s.disconnect()
	case m.kind == messageEvent:
		return s.dispatchEvent(m)
	}
	return nil // an acknowledgement, although this server asks for none
}

// rejectNamespace rejects a namespace with the error message of the original server.
func (s *session) rejectNamespace(m message) error {
	if m.kind != messageConnect {
		return errUnexpectedPacket
	}
	m.kind, m.data = messageError, json.RawMessage(`{"message":"Invalid namespace"}`)
	s.push(m.packet())
	return nil
}

// connect connects the client to the namespace. It queues the answer before others can see the socket, so that no event
// precedes it.
func (s *session) connect() error {
	m, err := newMessage(messageConnect, "", map[string]string{"sid": rand.Text()})
	if err != nil {
		return err
	}
	socket := &Socket{s}
	s.mu.Lock()
	if s.ended || s.socket != nil {
		s.mu.Unlock()
		return errUnexpectedPacket
	}
	s.socket = socket
	s.pushLocked(m.packet())
	s.mu.Unlock()
	s.server.options.Connected(socket)
	return nil
}

// dispatchEvent passes an event to the application, and sends its result if the client asked for an acknowledgement.
func (s *session) dispatchEvent(m message) error {
	s.mu.Lock()
	socket := s.socket
	s.mu.Unlock()
	if socket == nil {
		return errUnexpectedPacket
	}
	name, arguments, err := m.event()
	if err != nil {
		return err
	}
	result := s.server.options.Received(socket, name, arguments)
	if m.ack == "" {
		return nil
	}
	if result == nil {
		result = []any{}
	}
	answer, err := newMessage(messageAck, m.ack, result)
	if err != nil {
		return err
	}
	s.send(answer)
	return nil
}

// isConnected reports whether the client is connected to the namespace.
func (s *session) isConnected() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.socket != nil
}

// disconnect disconnects the client from the namespace, and calls Disconnected once. The client may connect again while its
// session lasts.
func (s *session) disconnect() {
	s.mu.Lock()
	socket := s.socket
	s.socket = nil
	s.mu.Unlock()
	if socket != nil {
		s.server.options.Disconnected(socket)
	}
}

// closeNamespace disconnects the client at the end of the session, so that it cannot connect again.
func (s *session) closeNamespace() {
	s.mu.Lock()
	s.ended = true
	s.mu.Unlock()
	s.disconnect()
}
