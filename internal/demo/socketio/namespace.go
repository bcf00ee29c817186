package socketio

import (
	"crypto/rand"
	"encoding/json"
)

// handleMessage takes a message from the client. An error means that it broke the protocol.
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
	return nil // an acknowledgement: nothing of ours asks for one
}

// rejectNamespace refuses a namespace in the words of the original.
func (s *session) rejectNamespace(m message) error {
	if m.kind != messageConnect {
		return errUnexpectedPacket
	}
	m.kind, m.data = messageError, json.RawMessage(`{"message":"Invalid namespace"}`)
	s.push(m.packet())
	return nil
}

// connect lets the client in. The answer is queued before anyone can see the socket, so that no event overtakes it.
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

// dispatchEvent gives an event to the application, and its answer to the client.
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
	reply := s.server.options.Received(socket, name, arguments)
	if m.ack == "" {
		return nil
	}
	if reply == nil {
		reply = []any{}
	}
	answer, err := newMessage(messageAck, m.ack, reply)
	if err != nil {
		return err
	}
	s.send(answer)
	return nil
}

// isConnected reports whether the client is in the namespace.
func (s *session) isConnected() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.socket != nil
}

// disconnect takes the client out, and tells the application once. It may come back as long as its session lasts.
func (s *session) disconnect() {
	s.mu.Lock()
	socket := s.socket
	s.socket = nil
	s.mu.Unlock()
	if socket != nil {
		s.server.options.Disconnected(socket)
	}
}

// closeNamespace is leave at the end of the session.
func (s *session) closeNamespace() {
	s.mu.Lock()
	s.ended = true
	s.mu.Unlock()
	s.disconnect()
}
